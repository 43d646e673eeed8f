// What the browser knows of the inbound video, as figures of the time since the last look.

/** One meter per peer connection: rates need the look before. */
export class VideoMeter {
  #before = null;

  constructor(peer) {
    this.peer = peer;
  }

  /** `{fps, width, height, rttMs, bufferMs, lost}`; null where there is no figure yet. */
  async read() {
    const { video, pair } = await reports(this.peer);
    const now = {
      at: performance.now(),
      frames: video.framesDecoded ?? 0,
      delay: video.jitterBufferDelay ?? 0,
      emitted: video.jitterBufferEmittedCount ?? 0,
    };
    const before = this.#before;
    this.#before = now;
    const emitted = before && now.emitted - before.emitted;
    return {
      fps: before && ((now.frames - before.frames) * 1000) / (now.at - before.at),
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      rttMs: pair.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      bufferMs: emitted ? ((now.delay - before.delay) / emitted) * 1000 : null,
      lost: video.packetsLost ?? null,
    };
  }
}

async function reports(peer) {
  const found = { video: {}, pair: {} };
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "inbound-rtp" && report.kind === "video") found.video = report;
    else if (report.type === "candidate-pair" && report.nominated) found.pair = report;
  }
  return found;
}
