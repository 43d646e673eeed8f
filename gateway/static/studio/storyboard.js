// A storyboard that nobody has sent yet: a seed, an opening shot, beats. And the commands that it stands for.

/** What keeps it from being sent; null when nothing does. */
export function flaw({ seed, opening, beats }) {
  if (!Number.isInteger(seed) || seed < 0) return "The seed must be a whole number, 0 or more.";
  if (!opening.trim()) return "The opening shot is missing.";
  if (beats.some(({ at }) => !Number.isInteger(at) || at < 1)) return "A beat's chunk must be a whole number, 1 or more.";
  const blank = beats.find(({ prompt }) => !prompt.trim());
  if (blank) return `The beat at chunk ${blank.at} has no prompt.`;
  const chunks = beats.map(({ at }) => at);
  const twice = chunks.find((at, i) => chunks.indexOf(at) !== i);
  return twice === undefined ? null : `Two beats are at chunk ${twice}.`;
}

/** `[name, data]` of each command that puts the storyboard before a session that has not started. */
export function commandsOf({ seed, opening, beats }) {
  return [
    ["set_seed", { seed }],
    ["set_shot", { prompt: opening.trim() }],
    ...beats.map(({ kind, at, prompt }) => [`schedule_${kind}`, { prompt: prompt.trim(), at_session_chunk: at }]),
  ];
}

const KEPT = "studio.storyboard";

/** The storyboard that was last edited in this browser; null if there is none. */
export function remembered() {
  try {
    const { seed, opening, beats } = JSON.parse(localStorage.getItem(KEPT));
    return { seed, opening: String(opening), beats: beats.map(({ kind, at, prompt }) => ({ kind, at, prompt: String(prompt) })) };
  } catch {
    return null;                  // never kept, or by an older page
  }
}

export function remember({ seed, opening, beats }) {
  localStorage.setItem(KEPT, JSON.stringify({ seed, opening, beats }));
}
