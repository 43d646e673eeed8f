// The timeline as it is drawn, worked out from what has been played and what is planned. Pure.

import { SCENE_CHUNKS } from "./time.js";

const WINDOW = 288;               // chunks drawn at most: of a long session the last part, and what is ahead
const LOOK_BACK = 72;

/**
 * `{first, end, clips, scenes, later}`: chunks `first` to `end` are drawn, `later` beats lie behind them.
 *
 * `shots` have been played up to `chunk`, or will be when the run has not `started`; `beats` are planned. A clip is
 * `{key, kind, at, until, prompt, scene, when, hidden, reached}`: `when` is `past`, `now` or `planned`; `hidden` says
 * that a shot for the same chunk gives way. A scene `{number, at, until}` has 48 chunks unless a cut ends it.
 */
export function layOut({ shots, beats, chunk, started }) {
  const played = shots.map((shot, i) => ({
    ...shot, key: `past-${shot.kind}-${shot.at}`, when: started ? (i === shots.length - 1 ? "now" : "past") : "planned",
  }));
  const starts = [...played, ...slots(beats)];
  const scenes = scenesOf(starts);
  const runEnd = scenes.at(-1)?.until ?? SCENE_CHUNKS;
  const first = chunk > 2 * LOOK_BACK ? chunk - LOOK_BACK - (chunk % 12) : 0;
  const end = Math.min(Math.max(runEnd, chunk, ...starts.map(({ at }) => at + 1)), first + WINDOW);
  const clips = starts.map((start, i) => {
    const reached = start.at < runEnd;
    const scene = reached ? scenes.findLast(({ at }) => at <= start.at) : null;
    const until = Math.min(starts[i + 1]?.at ?? Infinity, reached ? scene.until : start.at + 1);
    return { ...start, scene, until, reached };
  });
  const drawn = ({ at, until }) => until > first && until > at && at < end;
  return { first, end, scenes: scenes.filter(drawn), clips: clips.filter(drawn), later: starts.filter(({ at }) => at >= end).length };
}

/** The chunk nearest to `target` in the direction of `step` that is `floor` or later and not taken; null if none is. */
export function freeNear(target, step, floor, beats) {
  const taken = new Set(beats.map(({ at }) => at));
  for (let at = Math.max(target, floor); at >= floor; at += step) if (!taken.has(at)) return at;
  return null;
}

/** Beats by chunk: of a cut and a shot for the same one the cut wins, and both move together. */
function slots(beats) {
  const byChunk = new Map();
  for (const beat of [...beats].sort((a, b) => a.at - b.at || (a.kind === "shot") - (b.kind === "shot"))) {
    if (byChunk.has(beat.at)) byChunk.get(beat.at).hidden = true;
    else byChunk.set(beat.at, { ...beat, key: `beat-${beat.id}`, when: "planned", hidden: false });
  }
  return [...byChunk.values()];
}

function scenesOf(starts) {
  const scenes = [];
  for (const { at } of starts.filter(({ kind }, i) => i === 0 || kind === "scene_cut")) {
    const before = scenes.at(-1);
    if (before && at > before.until) break;      // the run is complete before this cut
    if (before) before.until = at;
    scenes.push({ number: scenes.length + 1, at, until: at + SCENE_CHUNKS });
  }
  return scenes;
}
