// How the connection and the session stand.

import { $, text } from "./dom.js";

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
const FACTS = ["session", "queue", "playing", "session-chunk", "frame", "state-seed", "shots", "cuts", "current-prompt"];

export const isConnected = (status) => !["idle", "failed"].includes(status);

const list = (chunks) => (chunks?.length ? chunks.join(", ") : "–");

export function showStatus(status, { watching, recording }) {
  const connected = isConnected(status);
  $("status").dataset.status = status;
  text("status", STATUS_TEXT[status] ?? status);
  for (const id of ["key", "model"]) $(id).disabled = connected;
  $("connection").hidden = connected || watching;
  $("disconnect").hidden = !connected;
  $("share").hidden = status !== "live" || watching;
  $("clipping").hidden = status !== "live" || !recording;
  $("place").hidden = !connected;
  $("idle-text").hidden = status === "live";
  text("idle-text", connected ? `${STATUS_TEXT[status]}…` : watching ? "Not connected" : "Connect to see the stream");
  if (!connected) for (const id of FACTS) text(id, "–");
}

export function showSession({ session_id: id, queue }) {
  text("session", id.slice(0, 8));
  const place = queue && (queue.position === 0 ? "next in line" : `${queue.position} ahead`);
  const eta = queue?.eta_s == null ? "" : `, about ${Math.ceil(queue.eta_s)} s`;
  text("queue", queue ? place + eta : "–");
  if (queue) text("idle-text", `In the queue: ${place}${eta}`);
}

/** One `state` message. */
export function showState(state) {
  text("playing", state.paused ? "paused" : state.running ? "running" : state.started ? "started" : "stopped");
  text("session-chunk", state.session_chunk);
  text("frame", state.current_frame);
  text("state-seed", state.seed);
  text("shots", list(state.scheduled_shots));
  text("cuts", list(state.scheduled_scene_cuts));
  text("current-prompt", state.current_prompt || "–");
}

const round = (value, unit) => (value === null ? "–" : `${Math.round(value)} ${unit}`);

/** Figures of `VideoMeter.read`; null without a stream. */
export function showStats(stats) {
  text("fps", stats?.fps == null ? "–" : stats.fps.toFixed(1));
  text("size", stats?.width ? `${stats.width}×${stats.height}` : "–");
  text("rtt", round(stats?.rttMs ?? null, "ms"));
  text("buffer", round(stats?.bufferMs ?? null, "ms"));
  text("lost", stats?.lost ?? "–");
}
