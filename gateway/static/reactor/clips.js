// Clips: from the server's word that one is there to a file that plays.

import { ApiError, answerOf, sleep } from "./http.js";
import { beginAtZero } from "./mp4.js";

const PATIENCE_MS = 60000;        // a clip's last segment is closed with the next keyframe
const RETRY_MS = 1000;

/** The clip of a `clipReady` message as one fragmented MP4. */
export async function fetchClip({ playlist_url: path }, { headers, signal }) {
  const address = new URL(path.replace(/^\//, ""), document.baseURI);   // the gateway may sit under a prefix
  const playlist = await fetchPlaylist(address, { headers, signal });
  const [init, ...segments] = await Promise.all(fileNames(playlist).map((name) => fetchPart(new URL(name, address), signal)));
  beginAtZero(segments);
  return new Blob([init, ...segments], { type: "video/mp4" });
}

/** 202 says that the last segment is still being written. */
async function fetchPlaylist(address, { headers, signal }) {
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() < until) {
    const response = await fetch(address, { headers, signal });
    if (response.status === 200) return response.text();
    if (!response.ok) await answerOf(response);
    await sleep(Number(response.headers.get("Retry-After")) * 1000 || RETRY_MS, signal);
  }
  throw new ApiError(0, "clip_late", "the clip was not finished in time");
}

/** The initialisation, then the segments. Their URLs are the permission; no token goes with them. */
function fileNames(playlist) {
  const lines = playlist.split("\n").map((line) => line.trim());
  const init = lines.map((line) => /^#EXT-X-MAP:URI="(.+)"/.exec(line)?.[1]).find(Boolean);
  return [init, ...lines.filter((line) => line && !line.startsWith("#"))];
}

async function fetchPart(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) await answerOf(response);
  return response.arrayBuffer();
}
