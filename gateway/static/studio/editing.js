// Moving and removing beats: by pointer, by keyboard, by the buttons under the strip.

import { freeNear } from "./clips.js";
import { $, text } from "./dom.js";
import { clock } from "./time.js";
import { nameOf } from "./timeline.js";

const DRAG_PIXELS = 4;
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export class Editing {
  #timeline;
  #handlers;
  #selected = null;               // key of a clip
  #drag = null;                   // {key, from, startX, to}
  #moving = null;                 // {key, sent, wanted}: keys come faster than answers
  #floor = 0;

  /** Handlers: move(from, to), remove(at), pick(chunk). */
  constructor(timeline, handlers) {
    this.#timeline = timeline;
    this.#handlers = handlers;
    const clips = $("clips");
    clips.addEventListener("pointerdown", (event) => this.#grab(event));
    clips.addEventListener("pointermove", (event) => this.#pull(event));
    clips.addEventListener("pointerup", () => this.#drop());
    clips.addEventListener("pointercancel", () => this.#letGo());
    clips.addEventListener("keydown", (event) => this.#key(event));
    clips.addEventListener("focusin", (event) => this.#select(event.target.dataset.key));
    $("cells").addEventListener("click", (event) => event.target.dataset.chunk && handlers.pick(Number(event.target.dataset.chunk)));
    $("beat-earlier").addEventListener("click", () => this.#step(-1));
    $("beat-later").addEventListener("click", () => this.#step(1));
    $("beat-remove").addEventListener("click", () => this.#remove());
  }

  /** After every drawing: what was selected or dragged may have been played meanwhile. */
  refresh(floor) {
    this.#floor = floor;
    if (this.#drag && this.#clip(this.#drag.key)?.at !== this.#drag.from) this.#letGo();
    this.#goOn();
    this.#showSelected();
  }

  /** The session has refused to move or remove a beat. */
  giveUp() {
    this.#moving = null;
  }

  #clip(key) {
    const clip = this.#timeline.layout.clips.find((each) => each.key === key);
    return clip && this.#timeline.elementOf(key).classList.contains("movable") ? clip : undefined;
  }

  #others(at) {
    return this.#timeline.layout.clips.filter((clip) => clip.when === "planned" && clip.kind !== "opening" && clip.at !== at);
  }

  #select(key) {
    this.#selected = key;
    this.#showSelected();
  }

  #showSelected() {
    const clip = this.#clip(this.#selected);
    $("beat").hidden = !clip;
    if (!clip) return;
    text("beat-name", `${nameOf(clip)}, ${clock(clip.at)}`);
    text("beat-prompt", clip.prompt ?? "");
    $("beat-earlier").disabled = this.#target(clip, -1) === null;
  }

  // --- keyboard and buttons

  #key(event) {
    const step = STEPS[event.key];
    if (event.key === "Escape") this.#letGo();
    else if (step) this.#step(step);
    else if (event.key === "Delete" || event.key === "Backspace") this.#remove();
    else return;
    event.preventDefault();
  }

  /** The next chunk that is free for a clip beside `at`; the clip may still be on its way there. */
  #target({ at }, step, standsAt = at) {
    return at + step < this.#floor ? null : freeNear(at + step, step, this.#floor, this.#others(standsAt));
  }

  #step(step) {
    const clip = this.#clip(this.#selected);
    if (!clip) return;
    const at = this.#moving?.key === clip.key ? this.#moving.wanted : clip.at;
    const to = this.#target({ ...clip, at }, step, clip.at);
    if (to !== null) this.#move(clip, to);
  }

  #remove() {
    const clip = this.#clip(this.#selected);
    if (!clip) return;
    const at = this.#moving?.key === clip.key ? this.#moving.sent : clip.at;
    this.#moving = null;
    text("said", `${nameOf({ ...clip, at })} removed`);
    this.#handlers.remove(at);
  }

  #move({ key, at }, to) {
    text("said", `Moved to chunk ${to}`);
    if (this.#moving?.key === key) {
      this.#moving.wanted = to;
    } else {
      this.#moving = { key, sent: to, wanted: to };
      this.#handlers.move(at, to);
    }
  }

  /** A beat has arrived where it was sent; meanwhile it may have been wanted elsewhere. */
  #goOn() {
    const moving = this.#moving;
    const clip = moving && this.#clip(moving.key);
    if (moving && !clip) this.#moving = null;
    if (!clip || clip.at !== moving.sent) return;
    this.#moving = null;
    if (moving.wanted !== moving.sent) this.#move(clip, moving.wanted);
  }

  // --- pointer

  #grab(event) {
    const clip = this.#timeline.clipOf(event.target);
    if (event.button !== 0 || !clip || !this.#clip(clip.key)) return;
    const held = this.#timeline.elementOf(clip.key);
    held.focus();
    held.setPointerCapture(event.pointerId);
    this.#drag = { key: clip.key, from: clip.at, startX: event.clientX + $("scroller").scrollLeft, to: clip.at, held, moving: false };
  }

  #pull(event) {
    const drag = this.#drag;
    if (!drag) return;
    const moved = event.clientX + $("scroller").scrollLeft - drag.startX;
    if (!drag.moving && Math.abs(moved) < DRAG_PIXELS) return;
    drag.moving = true;
    const wanted = drag.from + Math.round(moved / this.#timeline.cellPixels);
    const step = wanted < drag.from ? -1 : 1;
    const others = this.#others(drag.from);
    drag.to = freeNear(wanted, step, this.#floor, others) ?? freeNear(this.#floor, 1, this.#floor, others);
    drag.held.classList.add("dragged");
    drag.held.style.setProperty("--shift", drag.to - drag.from);
    text("beat-name", `${nameOf({ ...this.#clip(drag.key), at: drag.to })}, ${clock(drag.to)}`);
  }

  #drop() {
    const drag = this.#drag;
    this.#letGo();
    const clip = drag?.moving && this.#clip(drag.key);
    if (clip && drag.to !== drag.from) this.#move(clip, drag.to);
  }

  #letGo() {
    const drag = this.#drag;
    this.#drag = null;
    drag?.held.classList.remove("dragged");
    drag?.held.style.removeProperty("--shift");
  }
}
