// SPDX-License-Identifier: Apache-2.0
// What is said of an answer: a sentence, times, the objects, and the request to copy.

import { colour, colourIndex } from "./draw.js";
import { $, element } from "./page.js";
import * as snippets from "./snippets.js";

/** @typedef {import("./results.js").Result} Result */
/** @typedef {import("./app.js").Answer} Answer */

const RECENT = 30; // answers of which the rate is shown
const LIST_MS = 250; // a list that changes with every frame can't be read
const SPEAK_MS = 4000;
const STAGES_MS = 1000;
const MOST_LISTED = 100;

export class Report {
  sentence = "";
  selected = -1;
  /** @type {number[]} */ #times = [];
  /** @type {Answer | null} */ #last = null;
  /** @type {Record<string, number>} */ #due = {};
  #tab = "curl";

  /** @param {{select: () => void}} options `select` is called when another object is stressed. */
  constructor({ select }) {
    this.select = select;
    const tabs = /** @type {HTMLElement[]} */ (Array.from(document.querySelectorAll("[role=tab]")));
    tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => this.#choose(tab, tabs));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) this.#choose(tabs[(index + step + tabs.length) % tabs.length], tabs);
      });
    });
    $("copy").addEventListener("click", () => this.#copy());
  }

  clear() {
    this.sentence = "";
    this.selected = -1;
    this.#times = [];
    this.#last = null;
    this.#due = {};
    $("summary").textContent = "";
    for (const name of ["meter", "stages"]) $(name).hidden = true;
    $("found").replaceChildren();
    $("nothing").hidden = false;
    $("nothing").textContent = "Nothing yet.";
    $("snippet").textContent = "Open a picture first.";
  }

  /** @param {Answer} given @param {{live: boolean}} options `live` if the next answer follows at once. */
  show(given, { live }) {
    this.#last = given;
    this.sentence = sentence(given.result);
    if (!live) this.#due = {};
    if (this.#isDue("speak", SPEAK_MS)) $("summary").textContent = this.sentence;
    if (!this.#isDue("list", LIST_MS)) return this.#rate();
    this.#rate();
    this.#meter(given, live);
    this.#list(given.result);
    this.#snippet();
  }

  /** Show the server's own times, once in a while. @param {() => Promise<import("./triton.js").Stage[]>} read */
  async stages(read) {
    if (!this.#isDue("stages", STAGES_MS)) return;
    const stages = await read();
    if (!stages.length) return;
    const total = stages.reduce((sum, stage) => sum + stage.ms, 0);
    $("stages").replaceChildren(...stages.flatMap(({ name, ms }) => {
      const bar = element("meter", { min: "0", max: String(total), value: String(ms), "aria-label": `${name}, share` });
      return [element("span", {}, name), bar, element("span", {}, `${ms.toFixed(1)} ms`)];
    }));
    $("stages").hidden = false;
  }

  /** @param {string} what @param {number} ms */
  #isDue(what, ms) {
    const now = performance.now();
    if (now < (this.#due[what] ?? 0)) return false;
    this.#due[what] = now + ms;
    return true;
  }

  #rate() {
    this.#times.push(performance.now());
    this.#times.splice(0, this.#times.length - RECENT);
  }

  /** @param {Answer} given @param {boolean} live */
  #meter({ ms, still, result }, live) {
    const [height, width] = result.orig_shape;
    const entries = [["Answered in", `${ms.toFixed(0)} ms`], ["Picture", `${width} × ${height}, ${(still.blob.size / 1024).toFixed(0)} KiB`]];
    const span = this.#times[this.#times.length - 1] - this.#times[0];
    if (live && span > 0) entries.splice(1, 0, ["Frames a second", ((1000 * (this.#times.length - 1)) / span).toFixed(1)]);
    $("meter").replaceChildren(...entries.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))));
    $("meter").hidden = false;
  }

  /** @param {Result} result */
  #list(result) {
    const rows = result.objects ?? result.top ?? [];
    if (this.selected >= rows.length) this.selected = -1;
    const focused = document.activeElement?.closest("#found li");
    const place = focused ? Array.from($("found").children).indexOf(focused) : -1;
    $("found").replaceChildren(...rows.slice(0, MOST_LISTED).map((_, row) => this.#item(result, row)));
    if (place >= 0) /** @type {HTMLElement | null} */ ($("found").children[place]?.firstElementChild)?.focus();
    $("nothing").hidden = rows.length > 0 && rows.length <= MOST_LISTED;
    $("nothing").textContent = rows.length ? `${rows.length} objects; the best ${MOST_LISTED} are listed.` : "No object. Lower the confidence to see weaker ones.";
  }

  /** @param {Result} result @param {number} row */
  #item(result, row) {
    const one = (result.objects ?? result.top ?? [])[row];
    const ink = colour(result.objects ? colourIndex(result, row) : row);
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    swatch.setAttribute("viewBox", "0 0 10 10");
    swatch.setAttribute("aria-hidden", "true");
    const disc = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [name, value] of Object.entries({ cx: "5", cy: "5", r: "5", fill: ink })) disc.setAttribute(name, value);
    swatch.append(disc);
    const share = result.objects ? one.confidence.toFixed(2) : `${(100 * one.confidence).toFixed(1)} %`;
    const button = element("button", { type: "button", "aria-pressed": String(row === this.selected) },
      swatch, element("span", {}, one.class_name), element("b", {}, share));
    if (result.objects) button.addEventListener("click", () => this.#stress(row === this.selected ? -1 : row));
    return element("li", {}, button);
  }

  /** @param {number} row */
  #stress(row) {
    this.selected = row;
    Array.from($("found").children).forEach((item, index) =>
      item.firstElementChild?.setAttribute("aria-pressed", String(index === row)));
    this.select();
  }

  /** @param {HTMLElement} tab @param {HTMLElement[]} tabs */
  #choose(tab, tabs) {
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    tab.focus();
    $("snippet").setAttribute("aria-labelledby", tab.id);
    this.#tab = tab.id.slice("tab-".length);
    this.#snippet();
  }

  #snippet() {
    if (!this.#last) return;
    const { still, result, model, parameters } = this.#last;
    const request = {
      origin: new URL(".", location.href).href.replace(/\/$/, ""),
      model,
      parameters,
      file: still.name,
      size: still.blob.size,
    };
    const texts = { curl: snippets.curl, python: snippets.python, json: snippets.json, answer: () => JSON.stringify(result, null, 1) };
    $("snippet").textContent = texts[/** @type {keyof typeof texts} */ (this.#tab)](request);
  }

  async #copy() {
    const text = $("snippet").textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
      $("copy").textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren($("snippet"));
      $("copy").textContent = "Selected";
    }
    setTimeout(() => ($("copy").textContent = "Copy"), 2000);
  }
}

/** @param {Result} result */
function sentence({ objects, top }) {
  if (top) return `Most probable: ${top[0].class_name}, ${(100 * top[0].confidence).toFixed(1)} %.`;
  if (!objects?.length) return "No objects.";
  /** @type {Map<string, number>} */ const counts = new Map();
  for (const { class_name: name } of objects) counts.set(name, (counts.get(name) ?? 0) + 1);
  const parts = Array.from(counts, ([name, count]) => `${count} × ${name}`);
  return `${objects.length} object${objects.length === 1 ? "" : "s"}: ${parts.join(", ")}.`;
}
