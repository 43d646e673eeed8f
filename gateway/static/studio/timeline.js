// The strip: a ruler, scenes, clips, one cell per chunk, and the playhead. It draws; `editing.js` takes hold of it.

import { $, element, text } from "./dom.js";
import { clock } from "./time.js";

const RULE_EVERY = 4;
const ZOOMS = [10, 15, 22, 34, 52];     // pixels per chunk
const NAMES = { opening: "Opening shot", joined: "Shot", shot: "Shot", scene_cut: "Scene cut" };
const HUES = 5;

export const nameOf = ({ kind, at }) => `${NAMES[kind]} at chunk ${at}`;

export class Timeline {
  #clips = new Map();             // key -> element: a clip that moves stays the same element, and keeps the focus
  #span = "";
  #zoom = 2;
  #chunk = -1;
  layout = { first: 0, end: 0, scenes: [], clips: [], later: 0 };

  constructor() {
    $("zoom-in").addEventListener("click", () => this.#setZoom(this.#zoom + 1));
    $("zoom-out").addEventListener("click", () => this.#setZoom(this.#zoom - 1));
    this.#setZoom(this.#zoom);
  }

  get cellPixels() {
    return ZOOMS[this.#zoom];
  }

  /** Draw a layout. `floor` is the earliest chunk that can be planned for; nothing before it can be edited. */
  draw(layout, { chunk, started, running, editable, floor, draft }) {
    this.layout = layout;
    const { first, end } = layout;
    $("strip").style.setProperty("--chunks", end - first);
    $("strip").classList.toggle("draft", draft);
    if (this.#span !== `${first}-${end}`) this.#lay(first, end);
    this.#drawCells(first, chunk, running);
    this.#drawScenes();
    this.#drawClips(editable, floor);
    this.#drawPlayhead(chunk - first, started, running);
    text("position", started ? position(chunk, layout.scenes) : "Not started");
  }

  /** The clip of an element inside it. */
  clipOf(target) {
    const key = target.closest?.("[data-key]")?.dataset.key;
    return this.layout.clips.find((clip) => clip.key === key);
  }

  elementOf(key) {
    return this.#clips.get(key);
  }

  #lay(first, end) {
    this.#span = `${first}-${end}`;
    const chunks = Array.from({ length: end - first }, (_, i) => first + i);
    $("cells").replaceChildren(...chunks.map((n) => {
      const cell = element("div", { title: `Chunk ${n}, ${clock(n)}` });
      cell.dataset.chunk = n;
      return cell;
    }));
    $("ruler").replaceChildren(...chunks.filter((n) => n % RULE_EVERY === 0).map((n) => {
      const mark = element("li", {}, element("b", {}, String(n)), n % (2 * RULE_EVERY) ? "" : clock(n));
      place(mark, n - first, Math.min(n + RULE_EVERY, end) - first);
      return mark;
    }));
  }

  #drawCells(first, chunk, running) {
    for (const [i, cell] of [...$("cells").children].entries()) {
      const n = first + i;
      cell.className = n < chunk ? "done" : n === chunk && running ? "making" : "";
      const scene = this.layout.scenes.findLast(({ at }) => at <= n);
      cell.dataset.hue = scene && n < scene.until ? hue(scene) : "none";
    }
  }

  #drawScenes() {
    const { first, end, scenes } = this.layout;
    $("scenes").replaceChildren(...scenes.map((scene) => {
      const chunks = scene.until - scene.at;
      const band = element("li", {}, element("b", {}, `Scene ${scene.number}`), element("span", {}, ` ${chunks} chunk${chunks === 1 ? "" : "s"}`));
      band.dataset.hue = hue(scene);
      place(band, Math.max(scene.at - first, 0), Math.min(scene.until, end) - first);
      return band;
    }));
  }

  #drawClips(editable, floor) {
    const { first, end, clips } = this.layout;
    const gone = new Set(this.#clips.keys());
    for (const clip of clips) {
      gone.delete(clip.key);
      const held = this.#clips.get(clip.key) ?? this.#makeClip(clip);
      describe(held, clip, editable && clip.when === "planned" && clip.kind !== "opening" && clip.at >= floor);
      place(held, Math.max(clip.at - first, 0), Math.min(clip.until, end) - first);
    }
    for (const key of gone) {
      this.#clips.get(key).remove();
      this.#clips.delete(key);
    }
    const inOrder = clips.map(({ key }) => this.#clips.get(key));
    // only out of order is anything moved: an element that is put back loses the focus
    for (const [i, held] of inOrder.entries()) if ($("clips").children[i] !== held) moveTo(held, i);
  }

  #makeClip(clip) {
    const words = element("span");
    const made = element("li", { className: "clip" }, element("i", { ariaHidden: "true" }), words);
    made.dataset.key = clip.key;
    this.#clips.set(clip.key, made);
    $("clips").append(made);
    return made;
  }

  #drawPlayhead(at, started, running) {
    const head = $("playhead");
    head.hidden = !started;
    head.dataset.chunk = at + this.layout.first;
    head.classList.toggle("running", running);
    head.style.setProperty("--at", at);
    if (started && at !== this.#chunk) this.#follow(at);
    this.#chunk = started ? at : -1;
  }

  /** Keep the playhead in sight while it moves, unless somebody is at work in the strip. */
  #follow(at) {
    const scroller = $("scroller");
    if (scroller.matches(":focus-within, :hover")) return;
    const x = at * this.cellPixels;
    const seen = scroller.clientWidth;
    if (x < scroller.scrollLeft || x > scroller.scrollLeft + seen * 0.8) scroller.scrollLeft = Math.max(0, x - seen * 0.3);
  }

  #setZoom(zoom) {
    this.#zoom = Math.min(Math.max(zoom, 0), ZOOMS.length - 1);
    $("strip").style.setProperty("--cell", `${this.cellPixels}px`);
    $("strip").classList.toggle("fine", this.cellPixels < 20);
    $("zoom-in").disabled = this.#zoom === ZOOMS.length - 1;
    $("zoom-out").disabled = this.#zoom === 0;
  }
}

const hue = ({ number }) => (number - 1) % HUES;

function place(held, from, to) {
  held.style.setProperty("--from", from + 1);
  held.style.setProperty("--to", to + 1);
}

function moveTo(held, i) {
  const focused = held.contains(document.activeElement);
  $("clips").insertBefore(held, $("clips").children[i] ?? null);
  if (focused) held.focus();
}

function describe(held, clip, movable) {
  held.dataset.at = clip.at;
  held.dataset.kind = clip.kind;
  held.dataset.when = clip.when;
  held.dataset.hue = clip.scene ? hue(clip.scene) : "none";
  held.querySelector("span").textContent = clip.prompt ?? "…";
  const notes = [clip.hidden && "with a shot that gives way to it", !clip.reached && "never reached: its scene ends before it"];
  const said = [`${nameOf(clip)}, ${clock(clip.at)}`, ...notes.filter(Boolean)].join(", ");
  held.title = `${said}: ${clip.prompt ?? ""}`;
  held.classList.toggle("movable", movable);
  if (movable) {
    held.tabIndex = 0;
    held.setAttribute("role", "button");
    held.setAttribute("aria-label", `${said}: ${clip.prompt ?? ""}`);
    held.setAttribute("aria-describedby", "beat-help");
  } else {
    for (const name of ["tabindex", "role", "aria-label", "aria-describedby"]) held.removeAttribute(name);
  }
}

function position(chunk, scenes) {
  const scene = scenes.findLast(({ at }) => at <= chunk);
  if (!scene) return `${clock(chunk)} · chunk ${chunk}`;
  return `${clock(chunk)} · chunk ${chunk} · scene ${scene.number}, ${chunk - scene.at} of 48`;
}
