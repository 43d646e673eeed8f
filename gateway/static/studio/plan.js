// What the session has planned, by what it says of it. A beat that moves stays the same object, so that focus stays too.

let lastId = 0;

/** `kind` is `shot` or `scene_cut`; `prompt` is null until the session has told it. */
export function newBeat(kind, at, prompt) {
  lastId += 1;
  return { id: lastId, kind, at, prompt };
}

export class Plan {
  beats = [];

  /** Take one message of the model. */
  receive(type, data) {
    switch (type) {
      case "state":
        return this.#agree([
          ...data.scheduled_scene_cuts.map((at) => ({ kind: "scene_cut", at })),
          ...data.scheduled_shots.map((at) => ({ kind: "shot", at })),
        ]);
      case "beats_listed":
        return this.#agree(data.beats.map(({ kind, prompt, at_session_chunk: at }) => ({ kind, prompt, at })));
      case "shot_scheduled":
        return this.#plant("shot", data.at_session_chunk, data.prompt);
      case "scene_cut_scheduled":
        return this.#plant("scene_cut", data.at_session_chunk, data.prompt);
      case "beat_moved":
        for (const beat of this.beats) if (beat.at === data.from) beat.at = data.to;
        return undefined;
      case "unscheduled":
        this.beats = this.beats.filter(({ at }) => at !== data.at_session_chunk);
        return undefined;
      default:
        return undefined;
    }
  }

  #find(kind, at) {
    return this.beats.find((beat) => beat.kind === kind && beat.at === at);
  }

  #plant(kind, at, prompt) {
    const there = this.#find(kind, at);
    if (there) there.prompt = prompt;
    else this.beats.push(newBeat(kind, at, prompt));
  }

  #agree(told) {
    this.beats = told.map(({ kind, at, prompt = null }) => {
      const beat = this.#find(kind, at) ?? newBeat(kind, at, null);
      beat.prompt = prompt ?? beat.prompt;
      return beat;
    });
  }
}
