// What the page shows. Everything from the server is set as text, never as markup.

const SCENE_CHUNKS = 48;
const LOG_LINES = 200;
const STATUS_TEXT = {
  idle: "Not connected",
  creating: "Opening a session",
  queued: "In the queue",
  waiting: "Waiting for a worker",
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  failed: "Failed",
};

export const $ = (id) => document.getElementById(id);

const text = (id, value) => { $(id).textContent = value ?? "–"; };
const list = (chunks) => (chunks?.length ? chunks.join(", ") : "–");

export function showStatus(name) {
  $("status").dataset.status = name;
  text("status", STATUS_TEXT[name] ?? name);
  const connected = !["idle", "failed"].includes(name);
  $("connect").hidden = connected;
  $("disconnect").hidden = !connected;
  $("key").disabled = $("model").disabled = connected;
  $("idle-text").hidden = name === "live";
  text("idle-text", connected ? `${STATUS_TEXT[name]}…` : "Connect to see the stream");
}

export function showSession({ session_id: id, queue }) {
  text("session", id.slice(0, 8));
  const eta = queue?.eta_s == null ? "" : `, about ${Math.ceil(queue.eta_s)} s`;
  text("queue", queue ? `${queue.position} ahead${eta}` : "–");
}

/** One `state` snapshot. `current_chunk` is the zero-based index of the last chunk that the scene completed. */
export function showState(state, sceneChunks = SCENE_CHUNKS) {
  const done = state.session_chunk > 0 ? Math.min(state.current_chunk + 1, sceneChunks) : 0;
  $("progress").max = sceneChunks;
  $("progress").value = done;
  text("progress-text", `${done} / ${sceneChunks}`);
  text("playing", state.paused ? "paused" : state.running ? "running" : state.started ? "started" : "stopped");
  text("session-chunk", state.session_chunk);
  text("frame", state.current_frame);
  text("state-seed", state.seed);
  text("shots", list(state.scheduled_shots));
  text("cuts", list(state.scheduled_scene_cuts));
  text("current-prompt", state.current_prompt || "–");
}

/** Commands that make no sense now are greyed out; the server has the last word on the others. */
export function showCommands(live, commands, state) {
  const senseless = {
    start: state?.started,
    pause: state && (!state.started || state.paused),
    resume: state && !state.paused,
  };
  for (const button of document.querySelectorAll("[data-command]")) {
    const name = button.dataset.command;
    button.disabled = !live || !commands.has(name) || Boolean(senseless[name]);
  }
}

export function showError(message) {
  const banner = $("error");
  banner.querySelector("span").textContent = message ?? "";
  banner.hidden = !message;
}

export function showStats({ fps, width, height, rttMs }) {
  text("fps", fps === null ? "– fps" : `${fps.toFixed(1)} fps`);
  text("size", width ? `${width}×${height}` : "");
  text("rtt", rttMs === null ? "" : `${rttMs} ms`);
}

/** `kind` is `sent`, `error` or empty. */
export function addLog(type, data, kind = "") {
  const line = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = type;
  line.className = kind;
  line.append(name, ` ${JSON.stringify(data ?? {})}`);
  const log = $("log");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(line);
  while (log.children.length > LOG_LINES) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

export function clearState() {
  for (const id of ["session", "queue", "playing", "session-chunk", "frame", "state-seed", "shots", "cuts", "current-prompt"]) text(id, "–");
  $("progress").value = 0;
  text("progress-text", `0 / ${$("progress").max}`);
  showStats({ fps: null, width: 0, height: 0, rttMs: null });
}
