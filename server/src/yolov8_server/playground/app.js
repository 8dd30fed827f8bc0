// SPDX-License-Identifier: Apache-2.0
// The page: where pictures come in, what is asked for, and what is shown.

import { draw, fit } from "./draw.js";
import { Newest } from "./newest.js";
import { result } from "./results.js";
import { Settings } from "./settings.js";
import { Frames, scene, still } from "./sources.js";
import { infer, models, names, Stages, TritonError } from "./triton.js";
import { Report } from "./report.js";
import { $ } from "./page.js";

/** @typedef {import("./sources.js").Still} Still */
/** @typedef {import("./results.js").Result} Result */
/** @typedef {import("./triton.js").Model} Model */
/** @typedef {import("./triton.js").Parameters} Parameters */
/** @typedef {{still: Still, result: Result, ms: number, model: Model, parameters: Parameters}} Answer */

const IN_FLIGHT = 2;
const SCENES = [5, 8, 21];

const canvas = /** @type {HTMLCanvasElement} */ ($("canvas"));
const picker = /** @type {HTMLInputElement} */ ($("file"));
const select = /** @type {HTMLSelectElement} */ ($("model"));

/** @type {Map<string, Model>} */ let served = new Map();
/** @type {Still | null} */ let shown = null;
/** @type {Answer | null} */ let answer = null;
/** @type {Frames | null} */ let frames = null;
let opened = 0;

const stages = new Stages();
const settings = new Settings(ask);
const report = new Report({ select: paint });

/** @type {Newest<() => Promise<Still>, Still, Answer>} */
const queue = new Newest({ prepare: (capture) => capture(), run, show, fail, limit: IN_FLIGHT });

/** @param {Still} image @returns {Promise<Answer>} */
async function run(image) {
  const [model, parameters] = [current(), settings.parameters()];
  const began = performance.now();
  const tensors = await infer(model.name, image.blob, parameters);
  const ms = performance.now() - began;
  return { still: image, result: result(tensors, model), ms, model, parameters };
}

/** @param {Answer} given */
function show(given) {
  answer = given;
  shown = given.still;
  complain("");
  report.show(given, { live: frames !== null && !frames.video.paused });
  paint();
  report.stages(() => stages.since(current()));
}

/** @param {unknown} error */
function fail(error) {
  complain(error instanceof Error ? error.message : String(error));
  if (frames === null) {
    answer = null;
    report.clear();
    paint();
  }
}

/** @param {string} sentence */
function complain(sentence) {
  if ($("error").textContent !== sentence) $("error").textContent = sentence;
}

function current() {
  const model = served.get(select.value);
  if (!model) throw new Error("No model is chosen. The server offers none, or its list did not arrive.");
  return model;
}

/** Ask for the picture that is shown, with the settings of this moment. */
function ask() {
  if (frames === null && shown !== null) {
    const same = shown;
    queue.offer(async () => same);
  } else if (frames?.video.paused) queue.offer(() => /** @type {Frames} */ (frames).capture());
}

function paint() {
  $("empty").hidden = canvas.hidden = true;
  if (shown === null) {
    $("empty").hidden = false;
    return;
  }
  canvas.hidden = false;
  const { clientWidth: width, clientHeight: height } = $("view");
  fit(canvas, shown.picture, { width, height });
  draw(canvas, shown.picture, answer?.result ?? null, { selected: report.selected });
  canvas.setAttribute("aria-label", `${shown.name}. ${report.sentence}`);
}

/** Show a picture and ask about it. @param {Still} given */
function place(given) {
  leave();
  shown = given;
  answer = null;
  report.clear();
  paint();
  ask();
}

/**
 * Open something that may take a while, and drop it if something else is opened meanwhile.
 * @template Opened
 * @param {() => Promise<Opened>} begin
 * @param {(opened: Opened) => void} finish
 * @param {(opened: Opened) => void} [drop]
 */
async function open(begin, finish, drop) {
  const turn = ++opened;
  complain("");
  try {
    const found = await begin();
    if (turn === opened) finish(found);
    else drop?.(found);
  } catch (error) {
    if (turn === opened) fail(error);
  }
}

/** @param {Blob | null | undefined} file @param {string} [name] */
function openFile(file, name) {
  if (!file) return;
  const called = name ?? (file instanceof File && file.name ? file.name : "picture.png");
  if (file.type.startsWith("video/")) void watch(() => Frames.file(/** @type {File} */ (file)));
  else void open(() => still(file, called), place);
}

/** @param {() => Promise<Frames>} begin */
function watch(begin) {
  leave();
  return open(begin, follow, (started) => started.close());
}

/** Ask about the newest frames. @param {Frames} started */
function follow(started) {
  frames = started;
  report.clear();
  answer = null;
  for (const name of ["pause", "stop"]) $(name).hidden = false;
  $("pause").textContent = "Pause";
  started.watch(() => queue.offer(() => started.capture()), () => {
    leave();
    complain("The camera has stopped. Connect it, and choose “Use camera” again.");
  });
}

/** Leave the camera or the video. */
function leave() {
  queue.clear();
  frames?.close();
  frames = null;
  for (const name of ["pause", "stop"]) $(name).hidden = true;
}

function pause() {
  const video = /** @type {Frames} */ (frames).video;
  if (video.paused) void video.play();
  else video.pause();
  $("pause").textContent = video.paused ? "Resume" : "Pause";
}

async function offerSamples() {
  const drawn = await Promise.all(SCENES.map(scene));
  const answered = await fetch("samples/").catch(() => null);
  /** @type {string[]} */ const files = answered?.ok ? await answered.json() : [];
  for (const name of files) sample(name, `samples/${encodeURIComponent(name)}`, async () => {
    const picture = await (await fetch(`samples/${encodeURIComponent(name)}`)).blob();
    return still(picture, name);
  });
  drawn.forEach((one, index) => sample(`Drawn scene ${index + 1}`, URL.createObjectURL(one.blob), async () => one));
}

/** @param {string} name @param {string} url @param {() => Promise<Still>} take */
function sample(name, url, take) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const image = document.createElement("img");
  Object.assign(image, { src: url, alt: name });
  Object.assign(button, { type: "button", title: name });
  button.addEventListener("click", () => open(take, place));
  button.append(image);
  item.append(button);
  $("samples").append(item);
}

async function offerModels() {
  try {
    offer(await models(await names()));
  } catch (error) {
    select.replaceChildren(new Option("no model"));
    // A server may keep its list to itself, and still answer for a model whose name one knows.
    $("named").hidden = !(error instanceof TritonError && error.status >= 400 && error.status < 500);
    if ($("named").hidden) fail(error);
    else if (wanted()) void offerNamed(wanted());
  }
}

/** @param {string} name */
async function offerNamed(name) {
  complain("");
  try {
    offer(await models([name]));
  } catch (error) {
    fail(error);
  }
}

const wanted = () => decodeURIComponent(location.hash.slice(1));

/** @param {Model[]} found */
function offer(found) {
  if (!found.length) throw new Error("This server has no model of this project. Export one, and start the server again.");
  served = new Map(found.map((model) => [model.name, model]));
  select.replaceChildren(...Array.from(served.keys(), (name) => new Option(name)));
  select.value = served.has(wanted()) ? wanted() : (found.find((model) => model.task === "detect") ?? found[0]).name;
  select.disabled = false;
  choose();
}

function choose() {
  const model = current();
  history.replaceState(null, "", `#${encodeURIComponent(model.name)}`);
  $("about").textContent = `${model.task} · ${model.imgsz.join(" × ")} · ${model.labels.length} class${model.labels.length === 1 ? "" : "es"}`;
  settings.offer(model);
  queue.clear();
  report.clear();
  answer = null;
  void stages.since(model);
  paint();
  ask();
}

function listen() {
  select.addEventListener("change", choose);
  $("named").addEventListener("submit", (event) => {
    event.preventDefault();
    void offerNamed(/** @type {HTMLInputElement} */ ($("name")).value.trim());
  });
  $("open").addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => { openFile(picker.files?.[0]); picker.value = ""; });
  $("camera").addEventListener("click", () => watch(() => Frames.camera()));
  $("pause").addEventListener("click", pause);
  $("stop").addEventListener("click", () => { opened++; leave(); $("open").focus(); });
  document.addEventListener("paste", (event) => {
    const file = Array.from(event.clipboardData?.files ?? [])[0];
    if (file) openFile(file);
  });
  addEventListener("dragover", (event) => { event.preventDefault(); $("view").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("view").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("view").classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (file) openFile(file);
    else complain("Drop a file: links and texts are not opened, so nothing is loaded from elsewhere.");
  });
  new ResizeObserver(paint).observe($("view"));
}

listen();
void offerModels();
void offerSamples();
