// The video and what belongs to it.

import { $ } from "./dom.js";

export function addTrack(track) {
  const video = $("video");
  // a peer that was replaced leaves ended tracks behind
  const kept = (video.srcObject?.getTracks() ?? []).filter((old) => old.kind !== track.kind);
  video.srcObject = new MediaStream([...kept, track]);
  if (track.kind === "audio") $("sound").hidden = false;
}

export function clearStage() {
  $("video").srcObject = null;
  $("sound").hidden = true;
}

$("sound").addEventListener("click", () => {
  const video = $("video");
  video.muted = !video.muted;
  $("sound").setAttribute("aria-pressed", String(!video.muted));
});
$("fullscreen").addEventListener("click", () => $("video").requestFullscreen());
