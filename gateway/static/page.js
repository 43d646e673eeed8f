// The first page: connect, direct, watch.

import { Reactor, mintToken, modelSchema, readiness } from "./reactor.js";
import {
  $, addLog, clearState, showCommands, showError, showSession, showState, showStats, showStatus,
} from "./view.js";

const STATS_MS = 1000;
const READY_RETRY_MS = 2000;

let live = false;
let state = null;
let sceneChunks;
let commands = new Set();
let frames = null;                // {at, count} of the last look at the statistics

const reactor = new Reactor({ onStatus, onSession: showSession, onTrack, onMessage, onError });

function onStatus(name) {
  live = name === "live";
  showStatus(name);
  if (name === "idle" || name === "failed") {
    state = null;
    frames = null;
    $("video").srcObject = null;
    $("sound").hidden = true;
    clearState();
  }
  showCommands(live, commands, state);
}

function onTrack(track) {
  const video = $("video");
  // a peer that was replaced leaves ended tracks behind
  const kept = (video.srcObject?.getTracks() ?? []).filter((old) => old.kind !== track.kind);
  video.srcObject = new MediaStream([...kept, track]);
  if (track.kind === "audio") $("sound").hidden = false;
}

function onMessage({ scope, type, data }) {
  if (scope !== "application") return;
  if (type === "state") {
    state = data;
    showState(state, sceneChunks);
    showCommands(live, commands, state);
    return;                       // a snapshot per chunk would drown the log
  }
  if (type === "generation_started") sceneChunks = data.chunk_num || sceneChunks;
  addLog(type, data, type === "command_error" ? "error" : "");
  if (type === "command_error") showError(`${data.command} failed: ${data.reason}`);
}

function onError(error) {
  const message = error.code ? `${error.message} (${error.code})` : error.message;
  showError(message);
  addLog("error", { message }, "error");
}

function argumentsOf(command) {
  const prompt = $("prompt").value.trim();
  switch (command) {
    case "set_shot":
    case "scene_cut":
      return { prompt };
    case "schedule_shot":
    case "schedule_scene_cut":
      return { prompt, at_session_chunk: $("at").valueAsNumber };
    case "set_seed":
      return { seed: $("seed").valueAsNumber };
    default:
      return {};
  }
}

function send(command) {
  showError(null);
  const data = argumentsOf(command);
  if (Object.values(data).some(Number.isNaN)) showError("That number is missing.");
  else if (reactor.send(command, data)) addLog(command, data, "sent");
}

/** A field takes both: tokens are three dotted parts, keys have no dots. */
const isToken = (secret) => secret.split(".").length === 3;

async function connect(event) {
  event.preventDefault();
  showError(null);
  const secret = $("key").value.trim();
  const model = $("model").value;
  try {
    showStatus("creating");
    const token = isToken(secret) ? secret : await mintToken(secret);
    commands = commandsOf(await modelSchema(model));
    await reactor.connect({ model, token });
  } catch (error) {
    if (error.name === "AbortError") return;
    onStatus("failed");
    onError(error);
  }
}

const commandsOf = (schema) => new Set(Object.keys(schema.paths ?? {}).map((path) => path.split("/").pop()));

async function loadModels() {
  try {
    const { ready, models } = await readiness();
    if (models.length !== $("model").options.length) $("model").replaceChildren(...models.map((name) => new Option(name, name)));
    $("connect").disabled = models.length === 0;   // without a model the form would refuse silently
    if (ready) return;
  } catch (error) {
    showError(`The cluster cannot be reached: ${error.message}`);
  }
  setTimeout(loadModels, READY_RETRY_MS);
}

async function measure() {
  if (!live) return;
  const now = performance.now();
  const stats = await reactor.videoStats();
  const fps = frames && stats.frames >= frames.count ? ((stats.frames - frames.count) * 1000) / (now - frames.at) : null;
  frames = { at: now, count: stats.frames };
  showStats({ ...stats, fps });
}

/** `/#key=rk_…` fills the field: a fragment never leaves the browser. */
function takeKeyFromFragment() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (!key) return;
  $("key").value = key;
  history.replaceState(null, "", location.pathname);
}

function toggleSound() {
  const video = $("video");
  video.muted = !video.muted;
  $("sound").setAttribute("aria-pressed", String(!video.muted));
}

$("connection").addEventListener("submit", connect);
$("disconnect").addEventListener("click", () => reactor.disconnect());
$("sound").addEventListener("click", toggleSound);
$("fullscreen").addEventListener("click", () => $("video").requestFullscreen());
$("error").querySelector("button").addEventListener("click", () => showError(null));
$("director").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-command]")) button.addEventListener("click", () => send(button.dataset.command));
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send("set_shot");
});
addEventListener("pagehide", () => reactor.disconnect({ leaving: true }));
setInterval(measure, STATS_MS);

takeKeyFromFragment();
showStatus("idle");
showCommands(false, commands, state);
loadModels();
