// The SDK in a page. `client` has the verbs that drive.py calls; `emit`, bound by drive.py, takes what the page sees.
import { Reactor } from "@reactor-team/js-sdk";

const video = document.getElementById("video");
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { willReadFrequently: true });
let reactor;

async function token(url, apiKey) {
  const response = await fetch(`${url}/tokens`, { method: "POST", headers: { "Reactor-API-Key": apiKey } });
  if (!response.ok) throw new Error(`POST /tokens: ${response.status}`);
  return (await response.json()).jwt;
}

const statusIs = (wanted) =>
  new Promise((resolve) => reactor.on("statusChanged", (status) => status === wanted && resolve()));

// Reports every presented picture: the top `rows` of it, drawn into `size` pixels, as base64 of RGBA.
function watch({ rows, size }) {
  [canvas.width, canvas.height] = size;
  video.requestVideoFrameCallback(function look(_, { width, height }) {
    video.requestVideoFrameCallback(look);
    if (video.readyState < video.HAVE_CURRENT_DATA) return; // the first callback can come before there is a picture to draw
    context.drawImage(video, 0, 0, width, rows ?? height, 0, 0, ...size);
    const { data } = context.getImageData(0, 0, ...size);
    emit({ event: "frame", size: [width, height], region: size, pixels: btoa(String.fromCharCode(...data)) });
  });
}

window.client = {
  // Resolves with the session id once `ready`: `connect` itself resolves earlier, and commands would be dropped.
  async connect({ url, apiKey, model, region }) {
    reactor = new Reactor({ modelName: model, apiUrl: url });
    reactor.on("message", ({ type, data }) => emit({ event: "message", type, data }));
    reactor.on("error", ({ code, message }) => emit({ event: "error", code, message }));
    reactor.on("trackReceived", (name, track) => {
      if (name !== "main_video") return;
      if (!video.srcObject) watch(region);
      video.srcObject = new MediaStream([track]);
    });
    reactor.on("statusChanged", (status) => emit({ event: "status", status }));
    const ready = statusIs("ready");
    await reactor.connect(await token(url, apiKey));
    await ready;
    return reactor.getSessionId();
  },

  send: (command, data) => reactor.sendCommand(command, data),

  async sendFile(command, argument, base64, name) {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const reference = await reactor.uploadFile(new File([bytes], name, { type: "image/png" }));
    await reactor.sendCommand(command, { [argument]: reference });
  },

  async publish() {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    await reactor.publishTrack("webcam", stream.getVideoTracks()[0]);
  },

  async reconnect() {
    await reactor.disconnect(true);
    const ready = statusIs("ready");
    await reactor.reconnect();
    await ready;
  },

  disconnect: () => reactor.disconnect(),
};
