// What has been played: where scenes and shots of the run began. Who joins late knows it from then on.

export class Past {
  /** `{kind: "opening" | "shot" | "scene_cut", at, prompt}`, ascending. */
  shots = [];

  /** Take one message of the model. */
  receive(type, data) {
    if (type === "generation_reset") this.shots = [];
    if (type === "generation_started") this.shots = [{ kind: "opening", at: 0, prompt: data.prompt }];
    if (type === "scene_cut") this.#begin("scene_cut", data.at_session_chunk, data.prompt);
    if (type === "state") this.#follow(data);
    // the one message that tells exactly where the scene of a session that we joined began
    if (type === "chunk_complete" && this.shots[0]?.kind === "joined" && this.shots.length === 1) {
      this.shots[0].at = data.session_chunk - 1 - data.chunk_index;
    }
  }

  #follow(state) {
    if (!state.started && state.session_chunk === 0) this.shots = [];
    if (!state.started || state.current_prompt === null) return;
    this.shots = this.shots.filter(({ at }) => at <= state.session_chunk);   // a worker that took over may be a chunk behind
    if (!this.shots.length && state.session_chunk > 0) {
      const sceneStart = Math.max(0, state.session_chunk - state.current_chunk - 1);
      this.shots = [{ kind: "joined", at: sceneStart, prompt: state.current_prompt }];
    } else if (this.shots.length && this.shots.at(-1).prompt !== state.current_prompt) {
      this.#begin("shot", state.session_chunk, state.current_prompt);
    }
  }

  #begin(kind, at, prompt) {
    this.shots = [...this.shots.filter((shot) => shot.at < at), { kind, at, prompt }];
  }
}
