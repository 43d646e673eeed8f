// The clip button, and the player and the file that come of it.

import { $, text } from "./dom.js";

/** `take(seconds)` resolves to a Blob; `fail(message)` shows why it did not. */
export function wireClip({ take, fail }) {
  $("clip").addEventListener("click", async () => {
    $("clip").disabled = true;
    text("clip", "Making a clip…");
    try {
      show(await take(Number($("clip-seconds").value)));
    } catch (error) {
      if (error.name !== "AbortError") fail(error.message);
    }
    text("clip", "Clip");
    $("clip").disabled = false;
  });
  $("clip-close").addEventListener("click", () => $("clip-player").close());
  $("clip-player").addEventListener("close", drop);
}

function show(blob) {
  const file = URL.createObjectURL(blob);
  $("clip-video").src = $("clip-download").href = file;
  $("clip-download").download = `clip-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.mp4`;
  text("clip-size", `${(blob.size / 1e6).toFixed(1)} MB`);
  $("clip-player").showModal();
}

function drop() {
  const video = $("clip-video");
  URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
  $("clip-download").removeAttribute("href");
}
