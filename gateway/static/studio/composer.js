// The storyboard's form: a preset to begin with, the opening shot, beats, the seed.

import { $, element } from "./dom.js";
import { newBeat } from "./plan.js";
import { PRESETS } from "./presets.js";
import { flaw, remember, remembered } from "./storyboard.js";
import { clock } from "./time.js";

const OWN = "own";
const BEAT_GAP = 8;
const KINDS = [["shot", "Shot"], ["scene_cut", "Scene cut"]];

export class Composer {
  #changed;
  #own = remembered();
  #beats = [];

  /** `changed()` is called after every change that a user makes. */
  constructor(changed) {
    this.#changed = changed;
    $("preset").replaceChildren(...PRESETS.map(({ name }, i) => new Option(name, i)));
    if (this.#own) this.#offerOwn();
    $("preset").addEventListener("change", () => { this.#take(this.#chosen()); changed(); });
    for (const id of ["opening", "seed"]) $(id).addEventListener("input", () => this.#edited());
    $("add-shot").addEventListener("click", () => this.#add("shot"));
    $("add-cut").addEventListener("click", () => this.#add("scene_cut"));
    this.#take(this.#chosen());
  }

  /** `{seed, opening, beats}`, as it stands in the form. */
  get storyboard() {
    return { seed: $("seed").valueAsNumber, opening: $("opening").value, beats: this.#beats };
  }

  get flaw() {
    return flaw(this.storyboard);
  }

  move(from, to) {
    for (const beat of this.#beats) if (beat.at === from) beat.at = to;
    this.#edited();
    this.#list();
  }

  remove(at) {
    this.#beats = this.#beats.filter((beat) => beat.at !== at);
    this.#edited();
    this.#list();
  }

  #chosen() {
    return $("preset").value === OWN ? this.#own : PRESETS[$("preset").value];
  }

  #offerOwn() {
    if ($("preset").value !== OWN && ![...$("preset").options].some(({ value }) => value === OWN)) {
      $("preset").append(new Option("Your own", OWN));
    }
    $("preset").value = OWN;
  }

  #take({ seed, opening, beats }) {
    $("seed").value = seed;
    $("opening").value = opening;
    this.#beats = beats.map(({ kind, at, prompt }) => newBeat(kind, at, prompt));
    this.#list();
  }

  #add(kind) {
    const at = Math.max(0, ...this.#beats.map((beat) => beat.at || 0)) + BEAT_GAP;
    this.#beats.push(newBeat(kind, at, ""));
    this.#edited();
    this.#list();
    $("beats").lastElementChild.querySelector("textarea").focus();
  }

  #edited() {
    this.#offerOwn();
    this.#own = structuredClone(this.storyboard);
    remember(this.#own);
    this.#changed();
  }

  #list() {
    this.#beats.sort((a, b) => a.at - b.at);
    $("beats").replaceChildren(...this.#beats.map((beat, i) => this.#row(beat, i + 1)));
  }

  #row(beat, number) {
    const kind = element("select", { ariaLabel: `Kind of beat ${number}` }, ...KINDS.map(([value, name]) => new Option(name, value)));
    kind.value = beat.kind;
    const at = element("input", { type: "number", min: 1, step: 1, value: beat.at, inputMode: "numeric", ariaLabel: `Chunk of beat ${number}` });
    const time = element("span", { className: "note" }, clock(beat.at));
    const prompt = element("textarea", { rows: 2, maxLength: 4000, value: beat.prompt, ariaLabel: `Prompt of beat ${number}` });
    const remove = element("button", { type: "button", className: "quiet", ariaLabel: `Remove beat ${number}` }, "✕");
    const row = element("li", {}, element("div", { className: "row" }, kind, "at", at, time, remove), prompt);
    row.dataset.kind = beat.kind;
    kind.addEventListener("change", () => { row.dataset.kind = beat.kind = kind.value; this.#edited(); });
    at.addEventListener("input", () => { beat.at = at.valueAsNumber; time.textContent = beat.at > 0 ? clock(beat.at) : ""; this.#edited(); });
    at.addEventListener("change", () => this.#list());
    prompt.addEventListener("input", () => { beat.prompt = prompt.value; this.#edited(); });
    remove.addEventListener("click", () => {
      this.#beats.splice(this.#beats.indexOf(beat), 1);
      this.#edited();
      this.#list();
      $("add-shot").focus();
    });
    return row;
  }
}
