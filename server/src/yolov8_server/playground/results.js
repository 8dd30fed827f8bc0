// SPDX-License-Identifier: Apache-2.0
// Tensors become a result: the plain values that `to_dict()` of the Python client returns, ready for JSON.

import { strings, TritonError } from "./triton.js";

/** @typedef {import("./triton.js").Tensor} Tensor */
/**
 * @typedef {object} Found An object in pixels of the image as displayed.
 * @property {number} class_id
 * @property {string} class_name
 * @property {number} confidence
 * @property {number} [tracker_id]
 * @property {number[]} [xyxy] Corners x1, y1, x2, y2.
 * @property {string} [rle] Mask as COCO's compressed run-length string.
 * @property {number[][]} [keypoints] x, y and, for some models, visibility.
 * @property {number[]} [xywhr] Centre, width, height, rotation in radians.
 * @property {number[][]} [xyxyxyxy] Corners of the rotated box.
 */
/** @typedef {{class_id: number, class_name: string, confidence: number}} Best */
/**
 * @typedef {object} Result
 * @property {string} task
 * @property {[number, number]} orig_shape Height and width of the image as displayed.
 * @property {Found[]} [objects] The best first; of all tasks but classify.
 * @property {Best[]} [top] The five most probable classes.
 */

const BEST = 5;

/**
 * @param {Map<string, Tensor>} tensors The outputs of a model.
 * @param {{task: string, labels: string[]}} model
 * @returns {Result}
 */
export function result(tensors, model) {
  const [height, width] = int32(tensors, "orig_shape");
  const common = { task: model.task, orig_shape: /** @type {[number, number]} */ ([height, width]) };
  if (model.task === "classify") return { ...common, top: best(float32(tensors, "class_scores"), model.labels) };
  const geometry = geometries(tensors, model.task);
  const scores = float32(tensors, "detection_scores");
  const objects = Array.from(int32(tensors, "detection_classes"), (id, row) => ({
    class_id: id,
    class_name: model.labels[id] ?? String(id),
    confidence: shortest(scores[row]),
    ...geometry(row),
  }));
  return { ...common, objects };
}

/**
 * @param {Float32Array} scores
 * @param {string[]} labels
 * @returns {Best[]}
 */
function best(scores, labels) {
  const ids = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]).slice(0, BEST);
  return ids.map((id) => ({ class_id: id, class_name: labels[id] ?? String(id), confidence: shortest(scores[id]) }));
}

/**
 * A function that returns the geometry of an object by its row.
 * @param {Map<string, Tensor>} tensors
 * @param {string} task
 * @returns {(row: number) => Partial<Found>}
 */
function geometries(tensors, task) {
  const boxes = float32(tensors, "detection_boxes");
  const values = (/** @type Float32Array */ from, /** @type number */ row, /** @type number */ width) =>
    Array.from(from.subarray(row * width, (row + 1) * width), shortest);
  if (task === "obb") {
    return (row) => ({ xywhr: values(boxes, row, 5), xyxyxyxy: corners(boxes.subarray(row * 5, row * 5 + 5)) });
  }
  const xyxy = (/** @type number */ row) => values(boxes, row, 4);
  if (task === "segment") {
    const masks = strings(tensor(tensors, "detection_masks", "BYTES").bytes);
    return (row) => ({ xyxy: xyxy(row), rle: masks[row] });
  }
  if (task === "pose") {
    const [, , count, size] = tensor(tensors, "detection_keypoints", "FP32").shape;
    const points = float32(tensors, "detection_keypoints");
    return (row) => ({
      xyxy: xyxy(row),
      keypoints: Array.from({ length: count }, (_, point) => values(points, row * count + point, size)),
    });
  }
  return (row) => ({ xyxy: xyxy(row) });
}

/** @param {ArrayLike<number>} box Centre x, centre y, width, height, rotation. */
function corners(box) {
  const [x, y, width, height, rotation] = Array.from(box);
  const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)];
  const sides = [[1, 1], [1, -1], [-1, -1], [-1, 1]];
  return sides.map(([along, across]) => [
    shortest(Math.fround(x + (along * width * cos - across * height * sin) / 2)),
    shortest(Math.fround(y + (along * width * sin + across * height * cos) / 2)),
  ]);
}

/**
 * The lengths of a mask's runs, column by column, background first.
 * @param {string} rle COCO's compressed run-length string.
 * @returns {number[]}
 */
export function runs(rle) {
  const counts = [];
  let [value, shift] = [0, 1];
  for (let at = 0; at < rle.length; at++) {
    const bits = rle.charCodeAt(at) - 48;
    value += (bits & 31) * shift;
    shift *= 32;
    if (bits & 32) continue;
    if (bits & 16) value -= shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
    [value, shift] = [0, 1];
  }
  return counts;
}

/**
 * The shortest decimal that is the same number of 32 bits, as numpy writes it.
 * @param {number} value
 */
function shortest(value) {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

/** @param {Map<string, Tensor>} tensors @param {string} name */
const int32 = (tensors, name) => new Int32Array(tensor(tensors, name, "INT32").bytes);

/** @param {Map<string, Tensor>} tensors @param {string} name */
const float32 = (tensors, name) => new Float32Array(tensor(tensors, name, "FP32").bytes);

/** @param {Map<string, Tensor>} tensors @param {string} name @param {string} datatype */
function tensor(tensors, name, datatype) {
  const found = tensors.get(name);
  if (found?.datatype === datatype) return found;
  throw new TritonError(0, `The answer has no ${datatype} tensor ${name}: the model is of another version.`);
}
