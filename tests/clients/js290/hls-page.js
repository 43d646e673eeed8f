// hls.js in a page, on an origin of its own: `playClip`, which hls.py calls, plays a clip over its first border, then its end.
import Hls from "hls.js";

const SPEED = 4;                  // of playing
const PAST_S = 0.5;               // of video, played after a segment's border and before the end
const video = document.getElementById("video");

// 202 says that the last segment is still being written; hls.js knows no such answer.
async function whenReady(playlist, headers) {
  for (;;) {
    const response = await fetch(playlist, { headers });
    if (response.status !== 202) return;
    await new Promise((resolve) => setTimeout(resolve, 1000 * response.headers.get("Retry-After")));
  }
}

// Only the playlist is asked for with the token: a segment's URL is its own permission.
window.playClip = async (playlist, token) => {
  const headers = { Authorization: `Bearer ${token}` };
  await whenReady(playlist, headers);
  const xhrSetup = (xhr, url) => url === playlist && xhr.setRequestHeader("Authorization", headers.Authorization);
  const hls = new Hls({ xhrSetup });
  let segments;
  hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => (segments = details.fragments.map(({ duration }) => duration)));
  const failed = new Promise((_, reject) =>
    hls.on(Hls.Events.ERROR, (_, { fatal, details, error }) => fatal && reject(new Error(`${details}: ${error.message}`))));
  const until = (event, there) => Promise.race([failed, new Promise((resolve) =>
    video.addEventListener(event, () => there() && resolve()))]);

  const acrossTheBorder = until("timeupdate", () => video.currentTime > segments[0] + PAST_S);
  hls.loadSource(playlist);
  hls.attachMedia(video);
  video.defaultPlaybackRate = SPEED;
  await Promise.race([failed, video.play()]);
  await acrossTheBorder;
  const stretches = video.played.length;
  const over = until("ended", () => true);
  video.currentTime = video.duration - PAST_S;
  await over;
  const { duration, currentTime, videoWidth, videoHeight } = video;
  hls.destroy();
  return { segments, stretches, duration, currentTime, size: [videoWidth, videoHeight] };
};
