// SPDX-License-Identifier: Apache-2.0
// The wall: every camera of a hub with its picture, what was found in it, and how it does.

import { draw, fit } from "./draw.js";
import { $, element } from "./page.js";

/** @typedef {import("./results.js").Result} Result */
/** @typedef {{line: string, direction: string, tracker_id: number, class_name: string}} Crossing */
/** @typedef {{[line: string]: {in: number, out: number}}} LineCounts */
/** @typedef {Result & {camera: string, frame: number, age_s: number, error?: string, message?: string, zones?: {[zone: string]: number}, lines?: LineCounts, crossings?: Crossing[]}} Answer */
/**
 * @typedef {object} Camera What the hub says of a camera once a second.
 * @property {string} name
 * @property {string} state
 * @property {number} read_fps
 * @property {number} answered_fps
 * @property {number | null} age_p95_s
 * @property {number} dropped
 * @property {number} late
 * @property {number} silence_s
 * @property {number} reconnects
 * @property {string} message
 * @property {[number, number] | null} size Width and height of its frames.
 * @property {{name: string, points: [number, number][]}[]} zones
 * @property {{name: string, start: [number, number], end: [number, number]}[]} lines
 * @property {Answer | null} last
 */

const FETCHES = 4; // a browser opens six connections to one server, and events need one of them
const KEPT = 16;
const SILENT_MS = 5000;
const RETRY_MS = 3000;
const TEXT_REM = 9; // the height of a card's text
const TROUBLED = ["stale", "reconnecting", "dead"];

/** @type {Map<string, Card>} */ const cards = new Map();
let fetching = 0;
let heardAt = 0;

/** A camera on the page. */
class Card {
  /** @type {Answer[]} */ #recent = [];
  /** @type {Camera | null} */ #camera = null;
  /** @type {{picture: ImageBitmap, frame: number} | null} */ #shown = null;
  #wanted = -1;
  #busy = false;
  #visible = true;
  servedAt = 0;

  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.state = element("span", { class: "state" });
    this.canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { role: "img", "aria-label": `${name}: no picture yet` }));
    this.box = element("div", { class: "picture" }, this.canvas);
    this.meter = element("dl", { class: "meter" });
    this.areas = element("ul", { class: "areas", "aria-label": "Zones and lines" });
    this.message = element("p", { class: "message" });
    this.button = element("button", { type: "button", class: "small", "aria-pressed": "false", "aria-label": `Enlarge ${name}` }, "Enlarge");
    const title = element("h2", {}, element("span", {}, name), this.state, this.button);
    this.item = element("li", { class: "camera" }, title, this.box, this.meter, this.areas, this.message);
    this.button.addEventListener("click", () => this.enlarge(!this.item.classList.contains("large")));
    this.item.addEventListener("keydown", (event) => event.key === "Escape" && this.enlarge(false));
    new IntersectionObserver(([seen]) => (this.#visible = seen.isIntersecting)).observe(this.item);
    new ResizeObserver(() => this.#paint()).observe(this.box);
  }

  /** @param {boolean} large */
  enlarge(large) {
    this.item.classList.toggle("large", large);
    this.button.setAttribute("aria-pressed", String(large));
  }

  /** @param {Answer} answer */
  answered(answer) {
    this.#recent.push(answer);
    if (this.#recent.length > KEPT) this.#recent.shift();
    this.#wanted = answer.frame;
  }

  /** @param {Camera} camera */
  update(camera) {
    const before = this.#camera?.state;
    this.#camera = camera;
    if (camera.last && !this.#recent.some(({ frame }) => frame === camera.last?.frame)) this.answered(camera.last);
    this.state.textContent = camera.state;
    this.state.dataset.state = camera.state;
    const age = camera.age_p95_s === null ? "–" : `${Math.round(1000 * camera.age_p95_s)} ms`;
    const values = { "frames/s": `${camera.answered_fps.toFixed(1)} of ${camera.read_fps.toFixed(1)}`, "age p95": age, dropped: String(camera.dropped + camera.late) };
    this.meter.replaceChildren(...Object.entries(values).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
    const silent = TROUBLED.includes(camera.state) ? `no frame for ${Math.round(camera.silence_s)} s` : "";
    const error = camera.state === "live" ? (camera.last?.message ?? "") : camera.message;
    this.message.textContent = camera.state === "ended" ? "" : [silent, error].filter(Boolean).join(": ");
    this.#count(camera.last);
    if (before !== undefined && before !== camera.state) tell(`${this.name} is ${camera.state}`);
  }

  /** Whether a newer picture than the one on the page is worth asking for. */
  get waits() {
    return this.#visible && !this.#busy && !document.hidden && this.#wanted >= 0 && this.#wanted !== this.#shown?.frame;
  }

  /** Get the picture of the last answer, and draw it with what was found in it. */
  async load() {
    this.#busy = true;
    this.servedAt = performance.now();
    try {
      const width = Math.max(64, Math.ceil(this.box.clientWidth * devicePixelRatio));
      const answer = await fetch(`cameras/${encodeURIComponent(this.name)}/frame.jpg?width=${width}`);
      if (!answer.ok) return;
      const frame = Number((answer.headers.get("ETag") ?? "").replaceAll('"', ""));
      const picture = await createImageBitmap(await answer.blob());
      this.#shown?.picture.close();
      this.#shown = { picture, frame };
      this.#paint();
    } catch {
      // the events say that the hub has gone
    } finally {
      this.#busy = false;
    }
  }

  #paint() {
    if (!this.#shown || !this.#camera) return;
    const { picture, frame } = this.#shown;
    const found = this.#recent.find((answer) => answer.frame === frame && !answer.error) ?? null;
    fit(this.canvas, picture, { width: this.box.clientWidth, height: this.box.clientHeight });
    draw(this.canvas, picture, found);
    outline(this.canvas, this.#camera, found);
    this.canvas.setAttribute("aria-label", `${this.name}: ${summary(found)}`);
  }

  /** @param {Answer | null} last */
  #count(last) {
    const zones = Object.entries(last?.zones ?? {}).map(([name, count]) => `${name}: ${count} inside`);
    const lines = Object.entries(last?.lines ?? {}).map(([name, counts]) => `${name}: ${counts.in} in, ${counts.out} out`);
    this.areas.replaceChildren(...[...zones, ...lines].map((text) => element("li", {}, text)));
  }
}

/** @param {Answer | null} found */
function summary(found) {
  const names = found?.objects?.map(({ class_name }) => class_name) ?? found?.top?.slice(0, 1).map(({ class_name }) => class_name) ?? [];
  const counts = [...new Set(names)].map((name) => `${names.filter((other) => other === name).length} ${name}`);
  return counts.join(", ") || "nothing found";
}

/**
 * Draw the zones and lines of a camera.
 * @param {HTMLCanvasElement} canvas @param {Camera} camera @param {Answer | null} found
 */
function outline(canvas, { zones, lines, size }, found) {
  if (!size || !(zones.length + lines.length)) return;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [across, down] = [canvas.width / size[0], canvas.height / size[1]];
  const pixel = canvas.width / Math.max(1, canvas.clientWidth);
  const shapes = [
    ...zones.map(({ name, points }) => ({ points, closed: true, words: `${name}: ${found?.zones?.[name] ?? "–"}` })),
    ...lines.map(({ name, start, end }) => ({ points: [start, end], closed: false, words: lineWords(name, found) })),
  ];
  context.font = `600 ${13 * pixel}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const { points, closed, words } of shapes) {
    const places = points.map(([x, y]) => [x * across, y * down]);
    context.beginPath();
    for (const [x, y] of places) context.lineTo(x, y);
    if (closed) context.closePath();
    for (const [ink, width] of /** @type {[string, number][]} */ ([["#000", 4], ["#fff", 2]])) {
      [context.strokeStyle, context.lineWidth] = [ink, width * pixel];
      context.stroke();
    }
    const middle = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
    const width = context.measureText(words).width + 10 * pixel;
    const x = Math.max(0, Math.min(middle[0] - width / 2, canvas.width - width));
    context.fillStyle = "#000c";
    context.fillRect(x, middle[1] - 10 * pixel, width, 20 * pixel);
    context.fillStyle = "#fff";
    context.fillText(words, x + 5 * pixel, middle[1]);
  }
}

/** @param {string} name @param {Answer | null} found */
function lineWords(name, found) {
  const counts = found?.lines?.[name];
  return counts ? `${name}: ${counts.in} in, ${counts.out} out` : name;
}

/** @param {{cameras: Camera[]}} state */
function update({ cameras }) {
  const names = new Set(cameras.map(({ name }) => name));
  for (const [name, card] of cards) if (!names.has(name)) card.item.remove(), cards.delete(name);
  const before = cards.size;
  for (const camera of cameras) {
    let card = cards.get(camera.name);
    if (!card) {
      cards.set(camera.name, (card = new Card(camera.name)));
      $("cameras").append(card.item);
    }
    card.update(camera);
  }
  if (cards.size !== before) arrange();
  const states = cameras.map(({ state }) => state);
  const counts = [...new Set(states)].map((state) => `${states.filter((other) => other === state).length} ${state}`);
  $("overview").textContent = `${cameras.length} ${cameras.length === 1 ? "camera" : "cameras"}: ${counts.join(", ")}`;
}

/** Make the cards as large as they can be while all of them fit on the screen. */
function arrange() {
  const list = $("cameras");
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const [across, down] = [list.clientWidth, innerHeight - list.offsetTop - TEXT_REM * rem / 4];
  const widths = [...cards.keys()].map((_, index) => across / (index + 1) - rem);
  const fits = widths.find((width, index) => Math.ceil(cards.size / (index + 1)) * ((width * 9) / 16 + TEXT_REM * rem) <= down);
  list.style.setProperty("--card-width", `${Math.floor(fits ?? 0)}px`);
}

/** Say something to screen readers. @param {string} text */
const tell = (text) => ($("news").textContent = text);

function listen() {
  const events = new EventSource("cameras/events");
  const heard = (/** @type {(data: any) => void} */ take) => (/** @type {MessageEvent} */ event) => {
    heardAt = performance.now();
    $("error").textContent = "";
    take(JSON.parse(event.data));
  };
  events.addEventListener("state", heard(update));
  events.addEventListener("result", heard((answer) => cards.get(answer.camera)?.answered(answer)));
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) complain().finally(() => setTimeout(listen, RETRY_MS));
  };
}

/** Say why there are no events. */
async function complain() {
  let text = "the camera hub does not answer";
  try {
    const answer = await fetch("cameras/state");
    text = answer.ok ? "the hub refuses another listener: close a page that shows its cameras" : (await answer.json()).error;
  } catch {
    // the server itself has gone
  }
  $("error").textContent = `No news of the cameras: ${text}. The page tries again.`;
  if (!cards.size) $("overview").textContent = "no cameras";
}

/** Ask for the pictures of the cameras that have waited longest. */
function feed() {
  const waiting = [...cards.values()].filter((card) => card.waits).sort((a, b) => a.servedAt - b.servedAt);
  for (const card of waiting.slice(0, FETCHES - fetching)) {
    fetching++;
    card.load().finally(() => fetching--);
  }
  if (heardAt && performance.now() - heardAt > SILENT_MS && !$("error").textContent) {
    $("error").textContent = `No news of the cameras for ${Math.round(SILENT_MS / 1000)} s: what is shown is old.`;
  }
}

addEventListener("resize", arrange);
listen();
setInterval(feed, 50);
