// Chunks, scenes and seconds, as the wire has them.

export const FPS = 24;
export const CHUNK_FRAMES = 29;
export const SCENE_CHUNKS = 48;

/** Playing time before chunk `n` of the run: `1:09`. */
export function clock(n) {
  const seconds = Math.floor((n * CHUNK_FRAMES) / FPS);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
