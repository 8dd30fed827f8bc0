// SPDX-License-Identifier: Apache-2.0
// Sliders, the class filter, and the request parameters that they stand for.

import { $, element } from "./page.js";

/** @typedef {import("./triton.js").Model} Model */

const SLIDERS = ["conf", "iou", "max_det"];

export class Settings {
  /** @type {Model | null} */ #model = null;
  #agnostic = /** @type {HTMLInputElement} */ ($("agnostic"));
  #slice = /** @type {HTMLInputElement} */ ($("slice"));
  #search = /** @type {HTMLInputElement} */ ($("search"));

  /** @param {() => void} changed */
  constructor(changed) {
    for (const name of SLIDERS) slider(name).addEventListener("input", () => { this.#label(name); changed(); });
    for (const box of [this.#agnostic, this.#slice]) box.addEventListener("change", changed);
    $("classes").addEventListener("change", () => { this.#labelClasses(); changed(); });
    this.#search.addEventListener("input", () => this.#find());
    $("reset").addEventListener("click", () => { if (this.#model) this.offer(this.#model); changed(); });
  }

  /** Offer what a model has, at its defaults. @param {Model} model */
  offer(model) {
    this.#model = model;
    $("settings").hidden = model.task === "classify";
    slider("max_det").max = String(model.maxDetLimit);
    for (const name of /** @type {("conf" | "iou" | "max_det")[]} */ (SLIDERS)) {
      slider(name).value = String(model.defaults[name]);
      this.#label(name);
    }
    this.#agnostic.checked = model.defaults.agnostic;
    this.#slice.checked = false;
    for (const part of ["overlap", "suppression"]) $(part).hidden = !model.suppresses;
    $("slicing").hidden = !model.maxSlices;
    $("tile").textContent = String(Math.max(...model.imgsz));
    this.#search.value = "";
    $("classes").replaceChildren(...model.labels.map((label, id) => {
      const box = element("input", { type: "checkbox", value: String(id) });
      return element("label", {}, box, label);
    }));
    this.#labelClasses();
  }

  /** The request parameters that differ from the model's defaults. @returns {import("./triton.js").Parameters} */
  parameters() {
    const model = this.#model;
    if (!model || model.task === "classify") return {};
    /** @type {import("./triton.js").Parameters} */ const changed = {};
    for (const name of /** @type {("conf" | "iou" | "max_det")[]} */ (SLIDERS)) {
      const value = Number(slider(name).value);
      if (value !== model.defaults[name]) changed[name] = value;
    }
    const classes = this.#chosen().map((box) => box.value);
    if (classes.length) changed.classes = classes.join(",");
    if (this.#agnostic.checked !== model.defaults.agnostic) changed.agnostic = this.#agnostic.checked;
    if (this.#slice.checked) changed.slice = Math.max(...model.imgsz);
    return changed;
  }

  #chosen() {
    return /** @type {HTMLInputElement[]} */ (Array.from($("classes").querySelectorAll("input:checked")));
  }

  /** @param {string} name */
  #label(name) {
    const value = Number(slider(name).value);
    $(`${name}-value`).textContent = name === "max_det" ? String(value) : value.toFixed(2);
  }

  #labelClasses() {
    const names = this.#chosen().map((box) => box.parentElement?.textContent ?? "");
    $("chosen").textContent = names.length ? names.join(", ") : "all";
  }

  #find() {
    const wanted = this.#search.value.trim().toLowerCase();
    for (const label of Array.from($("classes").children)) {
      /** @type {HTMLElement} */ (label).hidden = !label.textContent?.toLowerCase().includes(wanted);
    }
  }
}

/** @param {string} name */
const slider = (name) => /** @type {HTMLInputElement} */ ($(name));
