// The studio: compose a storyboard, connect, direct, watch.

import { mintToken, modelSchema, readiness } from "../reactor/http.js";
import { Reactor } from "../reactor/reactor.js";
import { wireClip } from "./clip.js";
import { layOut } from "./clips.js";
import { Composer } from "./composer.js";
import { enableCommands, wireDirector } from "./director.js";
import { $, text } from "./dom.js";
import { Editing } from "./editing.js";
import { addLog } from "./log.js";
import { Past } from "./past.js";
import { Plan } from "./plan.js";
import { clearProblems, showProblem } from "./problems.js";
import { fromAddress, hideWatchLink, showWatchLink } from "./share.js";
import { addTrack, clearStage } from "./stage.js";
import { isConnected, showSession, showState, showStats, showStatus } from "./status.js";
import { commandsOf } from "./storyboard.js";
import { Timeline } from "./timeline.js";

const STATS_MS = 1000;
const READY_RETRY_MS = 2000;

const asked = fromAddress();
const watching = Boolean(asked.watch);

let status = "idle";
let state = null;
let commands = new Set();
let recording = false;            // the cluster keeps what clips are made of
let apiKey = null;                // what watch links are minted with
let plan = new Plan();
let past = new Past();
let origins = new Map();          // command -> the panel that sent it last
let awaiting = false;             // a command of the user's is not answered yet

const reactor = new Reactor({ onStatus, onSession: showSession, onTrack: addTrack, onMessage, onError });
const timeline = new Timeline();
const composer = new Composer(() => draw());
const editing = new Editing(timeline, { move, remove, pick });

// --- what the session says

function onStatus(name) {
  status = name;
  showStatus(status, { watching, recording });
  if (!isConnected(status)) forget();
  draw();
}

function forget() {
  state = null;
  plan = new Plan();
  past = new Past();
  clearStage();
  showStats(null);
  hideWatchLink();
}

function onMessage({ scope, type, data }) {
  if (scope !== "application") return;
  plan.receive(type, data);
  past.receive(type, data);
  if (type === "command_error") return onRefused(data);
  if (type === "state") onState(data);
  else addLog(type, data);        // a snapshot per chunk would drown the log
  draw();
  return undefined;
}

function onState(data) {
  state = data;
  showState(state);
  if (awaiting) clearProblems();  // nothing follows a refused command but its refusal
  awaiting = false;
}

/** Refusals go to all who are connected: only those of our own commands are ours to show. */
function onRefused(data) {
  addLog("command_error", data, "error");
  editing.giveUp();
  if (origins.has(data.command)) showProblem(origins.get(data.command), `${data.command} failed: ${data.reason}`);
  awaiting = false;
}

function onError(error) {
  const message = error.code ? `${error.message} (${error.code})` : error.message;
  showProblem("connection", message);
  addLog("error", { message }, "error");
}

// --- what the user does

function send(command, data, origin) {
  origins.set(command, origin);
  awaiting = true;
  if (command === "start" && !state?.has_prompt && !sendStoryboard(origin)) return;
  if (reactor.send(command, data)) addLog(command, data, "sent");
}

/** Put the storyboard before the session; false when it cannot be sent as it is. */
function sendStoryboard(origin) {
  if (composer.flaw) {
    showProblem("storyboard", composer.flaw);
    return false;
  }
  for (const [command, data] of commandsOf(composer.storyboard)) {
    origins.set(command, origin);
    if (reactor.send(command, data)) addLog(command, data, "sent");
  }
  return true;
}

function load(event) {
  event.preventDefault();
  if (composer.flaw) return showProblem("storyboard", composer.flaw);
  awaiting = true;
  if (!untouched()) send("reset", {}, "storyboard");
  sendStoryboard("storyboard");
  return undefined;
}

function move(from, to) {
  if (showsDraft()) composer.move(from, to);
  else send("move_beat", { from, to }, "timeline");
}

function remove(at) {
  if (showsDraft()) composer.remove(at);
  else send("unschedule", { at_session_chunk: at }, "timeline");
}

/** A chunk of the strip was clicked: that is where the next beat is to go. */
function pick(chunk) {
  if (chunk < floor()) return;
  $("at").value = chunk;
  $("prompt").focus();
}

// --- the timeline: the storyboard until the session has one

const untouched = () => !state.started && !state.has_prompt && !plan.beats.length && state.session_chunk === 0;
const showsDraft = () => !watching && (state === null || untouched());
/** The earliest chunk that something can still be planned for: the one in the making is past. */
const floor = () => (showsDraft() ? 1 : (state?.session_chunk ?? 0) + (state?.running ? 1 : 0));

function draw() {
  const live = status === "live";
  const directable = commands.has("schedule_shot") || !live;
  const draft = showsDraft();
  const played = state?.started || state?.session_chunk > 0;
  const chunk = draft ? 0 : state?.session_chunk ?? 0;
  const beats = draft ? composer.storyboard.beats.filter(({ at }) => at > 0) : plan.beats;
  const layout = layOut({ shots: played ? past.shots : opening(draft), beats, chunk, started: Boolean(played) });
  timeline.draw(layout, {
    chunk, draft, started: Boolean(played), running: Boolean(state?.running),
    editable: !watching && (draft || (live && commands.has("move_beat"))), floor: floor(),
  });
  editing.refresh(floor());
  showSource(draft, layout.later);
  enableCommands({ live, commands, state });
  $("load").disabled = !live || !directable;
  document.body.classList.toggle("undirectable", !directable && !watching);
}

function opening(draft) {
  const prompt = draft ? composer.storyboard.opening : state?.current_prompt;
  return prompt ? [{ kind: "opening", at: 0, prompt }] : [];
}

function showSource(draft, later) {
  const source = draft ? "Your storyboard. Start sends it." : "";
  text("timeline-source", later ? `${source} ${later} more beats lie beyond.` : source);
  text("storyboard-note", state && !untouched() ? "Loading it resets the session." : "");
}

// --- the connection

/** A field takes both: tokens are three dotted parts, keys have no dots. */
const isToken = (secret) => secret.split(".").length === 3;

async function connect(event) {
  event.preventDefault();
  const secret = $("key").value.trim();
  const model = $("model").value;
  await attempt(async () => {
    onStatus("creating");
    apiKey = isToken(secret) ? null : secret;
    const token = apiKey ? await mintToken(apiKey) : secret;
    commands = commandsIn(await modelSchema(model));
    await reactor.connect({ model, token });
  });
}

const watch = () => attempt(() => reactor.connect(asked.watch));

async function attempt(connecting) {
  clearProblems();
  try {
    await connecting();
  } catch (error) {
    if (error.name === "AbortError") return;
    onStatus("failed");
    onError(error);
  }
}

const commandsIn = (schema) => new Set(Object.keys(schema.paths ?? {}).map((path) => path.split("/").pop()));

async function share() {
  try {
    if (!apiKey) throw new Error("A watch link is minted with an API key, and this session was opened with a token.");
    await showWatchLink({ apiKey, sessionId: reactor.sessionId, model: $("model").value });
  } catch (error) {
    onError(error);
  }
}

async function loadModels() {
  try {
    const { ready, models, ...facts } = await readiness();
    recording = facts.recording;
    if (models.length !== $("model").options.length) $("model").replaceChildren(...models.map((name) => new Option(name, name)));
    $("connect").disabled = models.length === 0;   // without a model the form would refuse silently
    if (ready) return;
  } catch (error) {
    showProblem("connection", `The cluster cannot be reached: ${error.message}`);
  }
  setTimeout(loadModels, READY_RETRY_MS);
}

$("connection").addEventListener("submit", connect);
$("disconnect").addEventListener("click", () => reactor.disconnect());
$("share").addEventListener("click", share);
$("composer").addEventListener("submit", load);
wireDirector({ send, refuse: showProblem });
wireClip({ take: (seconds) => reactor.clip(seconds), fail: (message) => showProblem("transport", `No clip: ${message}`) });
addEventListener("pagehide", () => reactor.disconnect({ leaving: true }));
setInterval(async () => { if (status === "live") showStats(await reactor.videoStats()); }, STATS_MS);

document.body.classList.toggle("watching", watching);
onStatus("idle");
if (watching) {
  watch();
} else {
  if (asked.key) $("key").value = asked.key;
  loadModels();
}
