// Calls to the gateway: addresses are relative to the page, errors carry the server's stable code.

/** An answer that is not the expected one. `code` is the server's stable code. */
export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail || `HTTP ${status}`);
    this.status = status;
    this.code = code;
  }
}

/** `{status, body}` of an answer in the 200s; ApiError otherwise. */
export async function call(path, { method = "GET", headers = {}, body, signal, keepalive } = {}) {
  const sent = body === undefined ? headers : { ...headers, "Content-Type": "application/json" };
  const response = await fetch(path, {
    method, headers: sent, signal, keepalive, body: body === undefined ? undefined : JSON.stringify(body),
  });
  return { status: response.status, body: await answerOf(response) };
}

/** The JSON of an answer, or the ApiError that it stands for. */
export async function answerOf(response) {
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = { detail: text.slice(0, 200) };   // a proxy's own page
  }
  if (!response.ok) throw new ApiError(response.status, answer?.code, answer?.detail);
  return answer;
}

/** Trade an API key for a token, of the whole account or of what `details` (`authorization_details`) name. */
export async function mintToken(apiKey, details) {
  const body = details && { authorization_details: details };
  return (await call("tokens", { method: "POST", headers: { "Reactor-API-Key": apiKey }, body })).body.jwt;
}

/** A token that watches this one session and does nothing else: for a link that others are given. */
export function mintViewerToken(apiKey, { sessionId, model }) {
  const resources = { models: { match: [model] }, sessions: { bind: [sessionId] } };
  return mintToken(apiKey, [{ type: "session", role: "viewer", resources }]);
}

/** `{ready, models, recording, troubles}` of the cluster, also while it is not ready. */
export async function readiness() {
  const response = await fetch("ready");
  return response.json();
}

/** The OpenAPI document of a model's commands and messages. */
export async function modelSchema(model) {
  return (await call(`schema?model=${encodeURIComponent(model)}`)).body;
}

export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
