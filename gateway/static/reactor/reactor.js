// A small client of the wire: sessions, signalling, and the v0 (JSON) data channels.
//
// const reactor = new Reactor({ onStatus, onSession, onTrack, onMessage, onError });
// await reactor.connect({ model: "longlive-v2", token });    // resolves once frames can flow
// reactor.send("set_shot", { prompt: "a red dune" });
// await reactor.disconnect();

import { fetchClip } from "./clips.js";
import { ApiError, call, sleep } from "./http.js";
import { VideoMeter } from "./stats.js";
import { untilReady } from "./waiting.js";

const CLIENT = { sdk_type: "page", sdk_version: "0.1.0" };
const API_HEADERS = { "Reactor-API-Version": "1", "Reactor-API-Accept-Version": "1" };
const WEBRTC_HEADERS = { "Reactor-WebRTC-Version": "1.0" };
const PING_MS = 5000;             // the server drops a connection that is silent for 20 s
const ANSWER_RETRY_MS = 150;
const TRICKLE_MS = 25;
const CONNECT_MS = 20000;         // from the answer to open channels
const LOST_MS = 1500;             // how long "disconnected" may last before a new peer is made
const REJOIN_MS = 60000;          // how long a session is followed to another worker
const REJOIN_PAUSE_MS = 500;
const REPLY_MS = 10000;

export class Reactor {
  #handlers;
  #token = null;
  #abort = null;
  #peer = null;
  #data = null;
  #ping = 0;
  #meter = null;
  #clipWaiters = [];              // replies carry no id: they come in the order of the requests
  #own = false;                   // we opened the session, so leaving closes it
  sessionId = null;

  /** Handlers: onStatus(name), onSession(session), onTrack(MediaStreamTrack), onMessage({type, data}), onError(Error). */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /**
   * Open a session of `model`, or join the one of `sessionId`, and connect to it. Rejects if that fails for good; a
   * peer lost later is replaced by itself.
   */
  async connect({ model, sessionId = null, token }) {
    this.#token = token;
    this.#abort = new AbortController();
    this.#own = sessionId === null;
    const { signal } = this.#abort;
    try {
      this.#status("creating");
      this.sessionId = sessionId ?? (await this.#create(model));
      await this.#join(signal);
    } catch (error) {
      await this.#giveUp(error);
      throw error;
    }
  }

  /** Send a model command. Returns false when there is no open channel. */
  send(type, data = {}) {
    return this.#frame({ scope: "application", data: { type, data } });
  }

  /** The last `seconds` of the session as an MP4 file (Blob). */
  async clip(seconds) {
    const { signal } = this.#abort;
    const ready = await this.#reply({ type: "requestClip", data: { duration_seconds: seconds } }, signal);
    return fetchClip(ready, { headers: this.#headers(API_HEADERS), signal });
  }

  /** Leave; a session of our own is closed. `leaving` lets the request outlive the page. */
  async disconnect({ leaving = false } = {}) {
    const sessionId = this.sessionId;
    this.sessionId = null;
    this.#abort?.abort();
    this.#dropPeer();
    this.#status("idle");
    if (!sessionId || !this.#own) return;
    try {
      await call(`sessions/${sessionId}`, { method: "DELETE", headers: this.#headers(API_HEADERS), keepalive: leaving });
    } catch (error) {
      if (!leaving && error.status !== 404) this.#handlers.onError?.(error);
    }
  }

  /** Figures of the inbound video since the last call (`VideoMeter.read`); null without a peer. */
  async videoStats() {
    return this.#meter?.read() ?? null;
  }

  // --- session ------------------------------------------------------------------------------------------------------

  async #create(model) {
    const body = { model: { name: model }, client_info: CLIENT, supported_transports: [{ protocol: "webrtc", version: "1.0" }] };
    return (await this.#api("", { method: "POST", body })).body.session_id;
  }

  async #join(signal) {
    const session = await untilReady(`sessions/${this.sessionId}`, {
      headers: this.#headers(API_HEADERS), signal, onSession: (seen) => this.#waiting(seen),
    });
    this.#status("connecting");
    await this.#openPeer(session, signal);
    this.#status("live");
    this.#handlers.onSession?.((await this.#api(`/${this.sessionId}`, { signal })).body);
  }

  #waiting(session) {
    if (!session.capabilities) this.#status(session.queue ? "queued" : "waiting");
    this.#handlers.onSession?.(session);
  }

  /** The worker or the path to it is gone. The session moves to another worker by itself; follow it there. */
  async #rejoin() {
    if (!this.sessionId) return;
    const { signal } = this.#abort;
    const until = Date.now() + REJOIN_MS;
    try {
      for (;;) {
        this.#dropPeer();
        this.#status("reconnecting");
        try {
          return await this.#join(signal);
        } catch (error) {
          if (!mayPass(error) || Date.now() > until) throw error;
        }
        await sleep(REJOIN_PAUSE_MS, signal);
      }
    } catch (error) {
      await this.#giveUp(error);
      return error.name === "AbortError" ? undefined : this.#handlers.onError?.(error);
    }
  }

  async #giveUp(error) {
    if (error.name === "AbortError") return;    // disconnect() is already at it
    await this.disconnect();
    this.#status("failed");
  }

  // --- peer ---------------------------------------------------------------------------------------------------------

  async #openPeer(session, signal) {
    const [ice, connection] = await Promise.all([
      this.#transport("/ice_servers", { signal }),
      this.#transport("/connections", { method: "POST", signal }),
    ]);
    const path = `/connections/${connection.body.connection_id}`;
    const peer = this.#peer = new RTCPeerConnection({ iceServers: ice.body.ice_servers.map(iceServer), bundlePolicy: "max-bundle" });
    this.#meter = new VideoMeter(peer);
    const control = peer.createDataChannel("control");
    const data = this.#data = peer.createDataChannel("data");
    const tracks = session.capabilities.tracks.filter((track) => track.direction === "recvonly");
    const transceivers = tracks.map((track) => peer.addTransceiver(track.kind, { direction: "recvonly" }));
    peer.ontrack = ({ track }) => this.#handlers.onTrack?.(track);
    data.onmessage = ({ data: frame }) => this.#receive(frame);
    const open = this.#opened(peer, control, data, signal);
    open.catch(() => {});                       // signalling may fail first; its error is the one to report
    this.#trickle(peer, path, signal);

    await peer.setLocalDescription();
    const mapping = tracks.map(({ name, kind, direction }, i) => ({ mid: transceivers[i].mid, name, kind, direction }));
    const offer = { sdp_offer: peer.localDescription.sdp, client_info: CLIENT, track_mapping: mapping };
    await this.#transport(`${path}/sdp_params`, { method: "POST", body: offer, signal });
    await peer.setRemoteDescription({ type: "answer", sdp: await this.#answer(path, signal) });
    await open;
    for (const { name } of tracks) control.send(JSON.stringify({ type: "notification", event: "resume_track", data: { name } }));
    this.#keepAlive();
    this.#watch(peer);
  }

  async #answer(path, signal) {
    const until = Date.now() + CONNECT_MS;
    while (Date.now() < until) {
      const { status, body } = await this.#transport(`${path}/sdp_params`, { signal });   // held by the server
      if (status === 200) return body.sdp_answer;
      await sleep(ANSWER_RETRY_MS, signal);
    }
    throw new ApiError(0, "no_answer", "the worker did not answer the offer");
  }

  #opened(peer, control, data, signal) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new ApiError(0, "no_connection", "no network path to the worker")), CONNECT_MS);
      const done = (settle, value) => { clearTimeout(timer); settle(value); };
      const check = () => {
        if (control.readyState === "open" && data.readyState === "open") done(resolve);
        else if (peer.connectionState === "failed") done(reject, new ApiError(0, "no_connection", "no network path to the worker"));
      };
      control.onopen = data.onopen = peer.onconnectionstatechange = check;
      signal.addEventListener("abort", () => done(reject, signal.reason), { once: true });
    });
  }

  #trickle(peer, path, signal) {
    let batch = [];
    let timer = 0;
    const flush = (final) => {
      clearTimeout(timer);
      timer = 0;
      const body = { candidates: batch, is_final: final, client_info: CLIENT };
      batch = [];
      this.#transport(`${path}/ice_candidates`, { method: "POST", body, signal }).catch((error) => {
        if (error.name !== "AbortError" && peer === this.#peer) this.#handlers.onError?.(error);
      });
    };
    peer.onicecandidate = ({ candidate }) => {
      if (!candidate) return flush(true);
      if (!candidate.candidate) return undefined;
      batch.push({ candidate: candidate.candidate, sdp_mid: candidate.sdpMid, sdp_mline_index: candidate.sdpMLineIndex });
      timer ||= setTimeout(() => flush(false), TRICKLE_MS);
      return undefined;
    };
  }

  #watch(peer) {
    let timer = 0;
    peer.onconnectionstatechange = () => {
      clearTimeout(timer);
      if (peer !== this.#peer || peer.connectionState === "connected") return;
      timer = setTimeout(() => peer === this.#peer && this.#rejoin(), peer.connectionState === "failed" ? 0 : LOST_MS);
    };
    this.#data.onclose = () => peer === this.#peer && this.#rejoin();   // the worker left or closed the peer
  }

  #keepAlive() {
    const ping = () => this.#frame({ scope: "runtime", data: { type: "ping", data: {} } });
    ping();
    this.#ping = setInterval(ping, PING_MS);
  }

  #dropPeer() {
    clearInterval(this.#ping);
    this.#clipWaiters = [];                     // their replies went down with the channel
    const peer = this.#peer;
    this.#peer = this.#data = this.#meter = null;   // first, so that its last events find it replaced
    peer?.close();
  }

  // --- frames -------------------------------------------------------------------------------------------------------

  #frame(frame) {
    if (this.#data?.readyState !== "open") return false;
    this.#data.send(JSON.stringify(frame));
    return true;
  }

  #receive(frame) {
    let message;
    try {
      message = JSON.parse(typeof frame === "string" ? frame : new TextDecoder().decode(frame));
    } catch {
      return;                                   // not ours to end the connection over
    }
    const { scope = "application", data = message } = message;
    if (scope === "runtime" && data.type === "sessionEnded") this.#ended(data.data?.reason);
    else if (scope === "runtime" && ["clipReady", "clipFailed"].includes(data.type)) this.#clipWaiters.shift()?.(data);
    else this.#handlers.onMessage?.({ scope, type: data.type, data: data.data ?? {} });
  }

  #reply(request, signal) {
    return new Promise((resolve, reject) => {
      const late = () => reject(new ApiError(0, "no_reply", "the worker did not answer"));
      const timer = setTimeout(late, REPLY_MS);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.#clipWaiters.push(({ type, data }) => {
        clearTimeout(timer);
        if (type === "clipReady") resolve(data);
        else reject(new ApiError(0, "clip_failed", data.reason));
      });
      if (!this.#frame({ scope: "runtime", data: request })) late();
    });
  }

  async #ended(reason) {
    await this.disconnect();
    this.#handlers.onError?.(new ApiError(0, "session_ended", `the session has ended: ${reason || "no reason given"}`));
  }

  // --- http ---------------------------------------------------------------------------------------------------------

  #status(name) {
    this.#handlers.onStatus?.(name);
  }

  #headers(versions) {
    return { Authorization: `Bearer ${this.#token}`, ...versions };
  }

  #api(path, options = {}) {
    return call(`sessions${path}`, { ...options, headers: this.#headers(API_HEADERS) });
  }

  #transport(path, options = {}) {
    return call(`sessions/${this.sessionId}/transport/webrtc${path}`, { ...options, headers: this.#headers(WEBRTC_HEADERS) });
  }
}

function iceServer({ uris, credentials }) {
  return credentials ? { urls: uris, username: credentials.username, credential: credentials.password } : { urls: uris };
}

/** Whether asking again may help: the session is on its way to a worker, or a proxy was in between. */
function mayPass(error) {
  return [409, 502, 503, 504].includes(error.status) || ["no_answer", "no_connection"].includes(error.code) || error instanceof TypeError;
}
