// SPDX-License-Identifier: Apache-2.0
// Triton's HTTP protocol with binary tensors: requests, answers, and what the server says of its models.

/** @typedef {{datatype: string, shape: number[], bytes: ArrayBuffer}} Tensor */
/** @typedef {Record<string, number | string | boolean>} Parameters */
/**
 * @typedef {object} Model
 * @property {string} name
 * @property {"detect" | "segment" | "pose" | "obb" | "classify"} task
 * @property {string[]} labels Names of the classes, by their ids.
 * @property {[number, number]} imgsz Height and width of the network's input.
 * @property {string[]} steps Names of the composing models, in the order in which they run.
 * @property {{conf: number, iou: number, max_det: number, agnostic: boolean}} defaults
 * @property {boolean} suppresses Whether overlapping objects are dropped, so that `iou` and `agnostic` have an effect.
 * @property {number} maxDetLimit
 * @property {number} maxSlices Most tiles that a request may cut its picture into; 0 where pictures are not cut.
 */
/** @typedef {{name: string, ms: number}} Stage Milliseconds that a request took on average. */

const LENGTH = "Inference-Header-Content-Length";
const DEFAULTS = { conf: 0.25, iou: 0.7, max_det: 300, agnostic: false };
const TASKS = ["detect", "segment", "pose", "obb", "classify"];

/** An answer that is an error; `status` is 0 where nothing answered. */
export class TritonError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * The JSON of a request for inference with an image of `size` bytes.
 * @param {number} size
 * @param {Parameters} parameters
 */
export function requestHead(size, parameters) {
  const image = { name: "image", datatype: "UINT8", shape: [1, size], parameters: { binary_data_size: size } };
  return { inputs: [image], parameters };
}

/**
 * Send an encoded image, and return the tensors of the answer.
 * @param {string} model
 * @param {Blob} image
 * @param {Parameters} parameters
 * @returns {Promise<Map<string, Tensor>>}
 */
export async function infer(model, image, parameters) {
  const head = JSON.stringify(requestHead(image.size, { ...parameters, binary_data_output: true }));
  const answer = await call(`v2/models/${encodeURIComponent(model)}/infer`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream", [LENGTH]: String(head.length) },
    body: new Blob([head, image]),
  });
  return tensors(await answer.arrayBuffer(), answer.headers.get(LENGTH));
}

/**
 * Read the body of an answer: JSON, and behind it the bytes of the tensors.
 * @param {ArrayBuffer} body
 * @param {string | null} length Bytes of the JSON.
 * @returns {Map<string, Tensor>}
 */
export function tensors(body, length) {
  let begin = length === null ? NaN : Number(length);
  if (!(begin <= body.byteLength)) throw new TritonError(0, "This is no answer of Triton's: it has no binary tensors.");
  const found = new Map();
  for (const { name, datatype, shape, parameters } of JSON.parse(text(body.slice(0, begin))).outputs) {
    const end = begin + parameters.binary_data_size;
    found.set(name, { datatype, shape, bytes: body.slice(begin, end) });
    begin = end;
  }
  return found;
}

/** @param {BufferSource} bytes */
const text = (bytes) => new TextDecoder().decode(bytes);

/**
 * The elements of a BYTES tensor, each of which follows its length of 32 bits.
 * @param {ArrayBuffer} bytes
 * @returns {string[]}
 */
export function strings(bytes) {
  const view = new DataView(bytes);
  const found = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const size = view.getUint32(at, true);
    found.push(text(new Uint8Array(bytes, at + 4, size)));
    at += 4 + size;
  }
  return found;
}

/** The names of the models that are ready. @returns {Promise<string[]>} */
export async function names() {
  const index = await (await call("v2/repository/index", { method: "POST" })).json();
  return index.filter((/** @type any */ one) => one.state === "READY").map((/** @type any */ one) => one.name).sort();
}

/**
 * The models of this project's contract among the given names, each with its composing models' limits.
 * @param {string[]} given
 * @returns {Promise<Model[]>}
 */
export async function models(given) {
  const configs = new Map();
  await Promise.all(given.map(async (name) => configs.set(name, await config(name))));
  const found = [];
  for (const name of given) {
    const steps = (configs.get(name).ensemble_scheduling?.step ?? []).map((/** @type any */ step) => step.model_name);
    for (const step of steps) if (!configs.has(step)) configs.set(step, await config(step));
    const model = described(configs.get(name), steps.map((/** @type string */ step) => configs.get(step)));
    if (model) found.push(model);
  }
  return found;
}

/** @param {string} name */
async function config(name) {
  return (await call(`v2/models/${encodeURIComponent(name)}/config`)).json();
}

/** @param {any} config @param {any[]} steps @returns {Model | undefined} */
function described(config, steps) {
  const own = parameters(config);
  if (!steps.length || !TASKS.includes(own.task)) return undefined;
  const limits = Object.assign({}, ...steps.map(parameters));
  return {
    name: config.name,
    task: own.task,
    labels: own.labels ?? [],
    imgsz: own.imgsz,
    steps: steps.map((step) => step.name),
    defaults: { ...DEFAULTS, ...limits.defaults },
    suppresses: limits.network_output !== "end2end",
    maxDetLimit: Number(limits.max_det_limit ?? 1000),
    maxSlices: Number(own.max_slices ?? 0),
  };
}

/** @param {any} config @returns {Record<string, any>} */
function parameters(config) {
  const read = (/** @type string */ value) => {
    try {
      return JSON.parse(value);
    } catch {
      return value;
    }
  };
  const given = /** @type {[string, any][]} */ (Object.entries(config.parameters ?? {}));
  return Object.fromEntries(given.map(([name, value]) => [name, read(value.string_value)]));
}

/** Reads how long requests took in each composing model, as far as the server tells. */
export class Stages {
  /** @type {Map<string, {count: number, queue: number, compute: number}>} */ #last = new Map();
  #closed = false;

  /**
   * The stages since the last call for the same model; none where the server keeps its statistics to itself.
   * @param {Model} model
   * @returns {Promise<Stage[]>}
   */
  async since(model) {
    if (this.#closed) return [];
    try {
      const read = await Promise.all(model.steps.map((step) => this.#delta(step)));
      const busy = read.filter((stage) => stage.count > 0);
      const queue = busy.reduce((sum, stage) => sum + stage.queue / stage.count, 0);
      const stages = busy.map(({ name, compute, count }) => ({ name: shortened(name, model.name), ms: compute / count }));
      return stages.length ? [{ name: "queue", ms: queue }, ...stages] : [];
    } catch (error) {
      this.#closed = error instanceof TritonError && [403, 404].includes(error.status);
      return [];
    }
  }

  /** @param {string} name */
  async #delta(name) {
    const answer = await (await call(`v2/models/${encodeURIComponent(name)}/stats`)).json();
    const now = totals(answer.model_stats[0].inference_stats);
    const before = this.#last.get(name) ?? now;
    this.#last.set(name, now);
    const count = now.count - before.count;
    return { name, count, queue: now.queue - before.queue, compute: now.compute - before.compute };
  }
}

/** @param {any} stats Triton's totals, in nanoseconds. */
function totals(stats) {
  const ms = (/** @type string */ name) => Number(stats[name]?.ns ?? 0) / 1e6;
  const compute = ms("compute_input") + ms("compute_infer") + ms("compute_output");
  return { count: Number(stats.success?.count ?? 0), queue: ms("queue"), compute };
}

/** @param {string} step @param {string} model */
const shortened = (step, model) => (step.startsWith(`${model}_`) ? step.slice(model.length + 1) : step);

/**
 * Make a request to the page's own server.
 * @param {string} path
 * @param {RequestInit} [options]
 */
async function call(path, options) {
  /** @type {Response} */ let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new TritonError(0, "The server does not answer. Check that it is running, and try again.");
  }
  if (answer.ok) return answer;
  throw new TritonError(answer.status, sentence(answer.status, await answer.text()));
}

/**
 * A sentence for the error of a server.
 * @param {number} status
 * @param {string} body
 */
export function sentence(status, body) {
  let message = "";
  try {
    message = String(JSON.parse(body).error).replace(/^in ensemble '[^']*', /, "");
  } catch {
    // a proxy's own page
  }
  if (status === 413) return `The server refuses a file of this size. ${message}`.trim();
  if (message.startsWith("invalid image: ")) return `The server can't read this picture: ${message.slice(15)}.`;
  if (/Exceeds maximum queue size|Request timeout expired/.test(message)) {
    return "The server has more requests than it can answer. Try again in a moment.";
  }
  return message || `The server answered with status ${status}, and without a reason.`;
}
