// Waiting for a worker: the session's event stream tells of every change; where it does not come through, we ask.

import { ApiError, call, sleep } from "./http.js";

const FIRST_EVENT_MS = 5000;      // a stream says how things stand at once; a proxy that holds it back says nothing
const POLL_FIRST_MS = 150;
const POLL_MAX_MS = 2000;
const OVER = ["CLOSED", "INACTIVE"];

/** The session object once it can be connected to. `onSession` hears of every one on the way there. */
export async function untilReady(path, { headers, signal, onSession }) {
  const look = (session) => {
    onSession(session);
    if (OVER.includes(session.state)) throw new ApiError(0, "session_over", "the session is over");
    return session.capabilities && session.selected_transport ? session : null;
  };
  return (await listen(`${path}/events`, { headers, signal, look })) ?? poll(path, { headers, signal, look });
}

/** The first session object that `look` is content with; null when the stream is of no use. */
async function listen(path, { headers, signal, look }) {
  const own = new AbortController();
  const leave = () => own.abort(signal.reason);
  signal.addEventListener("abort", leave, { once: true });
  const silence = setTimeout(() => own.abort(), FIRST_EVENT_MS);
  try {
    // with EventSource the token could only be sent in the address
    const response = await fetch(path, { headers: { ...headers, Accept: "text/event-stream" }, signal: own.signal });
    if (!response.ok) return null;   // if it is the session that is wrong, asking for it says so
    for await (const data of eventData(response.body)) {
      clearTimeout(silence);
      const ready = look(JSON.parse(data));
      if (ready) return ready;
    }
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", leave);
    own.abort();
  }
  return null;
}

async function poll(path, { headers, signal, look }) {
  for (let wait = POLL_FIRST_MS; ; wait = Math.min(wait * 1.5, POLL_MAX_MS)) {
    const ready = look((await call(path, { headers, signal })).body);
    if (ready) return ready;
    await sleep(wait, signal);
  }
}

/** The `data` of each server-sent event of a body. */
async function* eventData(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const lines = event.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}
