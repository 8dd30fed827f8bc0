// SPDX-License-Identifier: Apache-2.0
// Draws a result on its picture. Coordinates are the image's own pixels; lines and letters have the screen's sharpness.

import { runs } from "./results.js";

/** @typedef {import("./results.js").Result} Result */
/** @typedef {import("./results.js").Found} Found */
/** @typedef {{context: CanvasRenderingContext2D, scale: number, line: number, letter: number, pixel: number}} Pen */

// The colours of the Python client's drawing.
const COLOURS = [
  "#e6194b", "#1e78ff", "#2fa84f", "#ff8a00", "#9b30d9", "#00b3c0", "#f032c8", "#ffd21e", "#8a5a33", "#00d68f",
  "#c0ca00", "#ff7aa2", "#5965d8", "#a2d729", "#c8651b", "#2cc7ff", "#b0126f", "#5f7a2f", "#3f7fa6",
];
const LEFT = "#ff8a00", RIGHT = "#2cc7ff", MIDDLE = "#3ddc84";
const COCO_POINTS = 17;
const LIMBS = [
  { colour: MIDDLE, edges: [[0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 6], [5, 11], [6, 12], [11, 12]] },
  { colour: LEFT, edges: [[5, 7], [7, 9], [11, 13], [13, 15]] },
  { colour: RIGHT, edges: [[6, 8], [8, 10], [12, 14], [14, 16]] },
];
const VISIBLE = 0.5;
const MASK_OPACITY = 0.45;
const FONT = "system-ui, sans-serif";

/** @param {number} index @returns {string} */
export const colour = (index) => COLOURS[index % COLOURS.length];

/**
 * The colour index of an object: its track's; its own where objects of a class may overlap; else its class's.
 * @param {Result} result
 * @param {number} row
 */
export function colourIndex(result, row) {
  const found = /** @type {Found[]} */ (result.objects)[row];
  if (found.tracker_id !== undefined) return found.tracker_id;
  return found.rle !== undefined || found.keypoints ? row : found.class_id;
}

/**
 * Fit a canvas with a picture's proportions into a box, at the screen's sharpness.
 * @param {HTMLCanvasElement} canvas
 * @param {{width: number, height: number}} picture Its own pixels.
 * @param {{width: number, height: number}} box CSS pixels.
 */
export function fit(canvas, picture, box) {
  const scale = Math.min(box.width / picture.width, box.height / picture.height);
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.floor(side * scale)));
  const pixels = [width, height].map((side) => Math.round(side * devicePixelRatio));
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
}

/**
 * Draw a picture and what was found in it.
 * @param {HTMLCanvasElement} canvas Its size is kept; `fit` sets it.
 * @param {CanvasImageSource} picture
 * @param {Result | null} result
 * @param {{selected?: number}} [options] The row of the object to stress.
 */
export function draw(canvas, picture, result, { selected = -1 } = {}) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  context.setTransform(1, 0, 0, 1, 0, 0);
  // Only a much larger picture needs it, and it would cost live video some milliseconds a frame.
  context.imageSmoothingQuality = "width" in picture && Number(picture.width) > 1.5 * canvas.width ? "high" : "low";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!result) return;
  const pen = penFor(context, canvas, result.orig_shape[1]);
  if (result.top) return panel(pen, result.top);
  const objects = result.objects ?? [];
  const rows = objects.map((_, row) => row).reverse(); // the most confident objects are drawn last, on top
  if (selected in objects) rows.push(...rows.splice(rows.indexOf(selected), 1));
  for (const row of rows) {
    context.globalAlpha = selected in objects && row !== selected ? 0.35 : 1;
    shape(pen, objects[row], colour(colourIndex(result, row)));
  }
  labels(pen, result, rows.reverse(), selected);
  context.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} context @param {HTMLCanvasElement} canvas @param {number} width @returns {Pen} */
function penFor(context, canvas, width) {
  const pixel = canvas.clientWidth ? canvas.width / canvas.clientWidth : 1;
  const side = Math.min(canvas.width, canvas.height) / pixel;
  const line = Math.min(5, Math.max(1.5, side * 0.004)) * pixel;
  const letter = Math.min(26, Math.max(11, side * 0.022)) * pixel;
  context.lineJoin = context.lineCap = "round";
  return { context, scale: canvas.width / width, line, letter, pixel };
}

/** @param {Pen} pen @param {Found} found @param {string} ink */
function shape(pen, found, ink) {
  const { context, scale, line } = pen;
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = line;
  if (found.rle !== undefined) return mask(pen, found.rle);
  if (found.xyxyxyxy) return outline(pen, found.xyxyxyxy);
  if (found.keypoints) context.lineWidth = Math.max(1, line / 2);
  const [x1, y1, x2, y2] = /** @type {number[]} */ (found.xyxy).map((value) => value * scale);
  context.lineJoin = "miter";
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.lineJoin = "round";
  if (found.keypoints) pose(pen, found.keypoints);
}

/** @param {Pen} pen @param {number[][]} points */
function outline({ context, scale }, points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x * scale, y * scale);
  context.closePath();
  context.stroke();
}

/** @param {Pen} pen @param {number[][]} points */
function pose({ context, scale, line, pixel }, points) {
  const seen = points.map(([, , visibility = 1]) => visibility > VISIBLE);
  const at = (/** @type number */ point) => /** @type {[number, number]} */ ([points[point][0] * scale, points[point][1] * scale]);
  context.lineWidth = line;
  for (const { colour: ink, edges } of points.length === COCO_POINTS ? LIMBS : []) {
    context.strokeStyle = ink;
    context.beginPath();
    for (const [from, to] of edges) if (seen[from] && seen[to]) context.moveTo(...at(from)), context.lineTo(...at(to));
    context.stroke();
  }
  for (const [ink, radius] of /** @type {[string, number][]} */ ([["#101010", line + 2 * pixel], ["#fff", line + pixel]])) {
    context.fillStyle = ink;
    points.forEach((_, point) => {
      if (!seen[point]) return;
      context.beginPath();
      context.arc(...at(point), radius, 0, 7);
      context.fill();
    });
  }
}

/** @param {Pen} pen @param {string} rle */
function mask({ context, scale, line }, rle) {
  const height = context.canvas.height / scale;
  const { inside, edge } = maskPaths(runs(rle), Math.round(height));
  context.save();
  context.scale(scale, scale);
  context.lineWidth = Math.max(1, line * 0.75) / scale;
  context.stroke(edge);
  context.globalAlpha *= MASK_OPACITY;
  context.fill(inside);
  context.restore();
}

/**
 * The pixels of a mask as paths: one rectangle for each run, and the sides of pixels between object and background.
 * @param {number[]} counts Lengths of runs, column by column, background first.
 * @param {number} height Pixels of a column.
 */
export function maskPaths(counts, height) {
  const [inside, edge] = [new Path2D(), new Path2D()];
  const columns = columnsOf(counts, height);
  for (const [x, ends] of columns) {
    for (let at = 0; at < ends.length; at += 2) {
      inside.rect(x, ends[at], 1, ends[at + 1] - ends[at]);
      for (const y of [ends[at], ends[at + 1]]) edge.moveTo(x, y), edge.lineTo(x + 1, y);
    }
    for (const [side, other] of [[x, x - 1], [x + 1, x + 1]]) {
      const beside = columns.get(other) ?? [];
      if (other > x && beside.length) continue; // the next column draws the side between both
      const sides = differing(ends, beside);
      for (let at = 0; at < sides.length; at += 2) edge.moveTo(side, sides[at]), edge.lineTo(side, sides[at + 1]);
    }
  }
  return { inside, edge };
}

/**
 * The begins and ends of the object's runs, by column.
 * @param {number[]} counts
 * @param {number} height
 * @returns {Map<number, number[]>}
 */
function columnsOf(counts, height) {
  const columns = new Map();
  let at = 0;
  counts.forEach((count, index) => {
    const end = at + count;
    while (index % 2 && at < end) {
      const [x, y] = [Math.floor(at / height), at % height];
      const stop = Math.min(height, y + end - at);
      columns.set(x, [...(columns.get(x) ?? []), y, stop]);
      at += stop - y;
    }
    at = end;
  });
  return columns;
}

/** Begins and ends of what is in one of two columns alone. @param {number[]} one @param {number[]} other */
function differing(one, other) {
  const ends = [...one, ...other].sort((a, b) => a - b);
  /** @type {number[]} */ const kept = [];
  for (const end of ends) kept.at(-1) === end ? kept.pop() : kept.push(end);
  return kept;
}

/**
 * Letters on a ground of the object's colour, where they cover no other label if there is room.
 * @param {Pen} pen @param {Result} result @param {number[]} rows The best first. @param {number} selected
 */
function labels(pen, result, rows, selected) {
  const { context, letter } = pen;
  const gap = letter / 4;
  const height = letter + 2 * gap;
  context.font = `600 ${letter}px ${FONT}`;
  context.textBaseline = "middle";
  /** @type {number[][]} */ const taken = [];
  for (const row of rows) {
    const found = /** @type {Found[]} */ (result.objects)[row];
    const words = `${found.tracker_id === undefined ? "" : `#${found.tracker_id} `}${found.class_name} ${found.confidence.toFixed(2)}`;
    const width = context.measureText(words).width + 2 * gap;
    const [x, y] = place(pen, found, width, height, taken);
    taken.push([x, y, width, height]);
    const ink = colour(colourIndex(result, row));
    context.globalAlpha = selected >= 0 && row !== selected ? 0.35 : 1;
    context.fillStyle = ink;
    context.fillRect(x, y, width, height);
    context.fillStyle = isLight(ink) ? "#101010" : "#fff";
    context.fillText(words, x + gap, y + height / 2);
  }
}

/** @param {Pen} pen @param {Found} found @param {number} width @param {number} height @param {number[][]} taken */
function place({ context, scale, line }, found, width, height, taken) {
  const points = found.xyxyxyxy ?? [found.xyxy?.slice(0, 2) ?? [0, 0], found.xyxy?.slice(2) ?? [0, 0]];
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis] * scale));
  const middle = found.rle === undefined ? Math.min(...xs) - line / 2 : (Math.min(...xs) + Math.max(...xs) - width) / 2;
  const { width: right, height: bottom } = context.canvas;
  const x = Math.max(0, Math.min(middle, right - width));
  const [top, low] = [Math.min(...ys) - line / 2, Math.max(...ys) + line / 2];
  const wanted = [top - height, top, low, low - height].filter((y) => y >= 0 && y + height <= bottom);
  const free = wanted.find((y) => taken.every(([a, b, w, h]) => x + width <= a || a + w <= x || y + height <= b || b + h <= y));
  return [x, free ?? wanted[0] ?? 0];
}

/** @param {string} ink @returns {boolean} */
function isLight(ink) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(ink.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 150;
}

/** @param {Pen} pen @param {import("./results.js").Best[]} top */
function panel({ context, letter, pixel }, top) {
  const { width: most } = context.canvas;
  context.font = `600 ${letter}px ${FONT}`;
  context.textBaseline = "middle";
  const shares = top.map((one) => `${(100 * one.confidence).toFixed(1)} %`);
  const widest = (/** @type string[] */ words) => Math.max(...words.map((word) => context.measureText(word).width));
  const [gap, row] = [letter / 2, letter * 1.7];
  const [names, share] = [widest(top.map((one) => one.class_name)), widest(shares)];
  const bar = Math.max(0, Math.min(8 * letter, most - names - share - 8 * gap));
  const width = Math.min(most - 2 * gap, names + bar + share + 6 * gap);
  context.fillStyle = "rgb(16 16 16 / 78%)";
  context.beginPath();
  context.roundRect(gap, gap, width, row * top.length + gap, 6 * pixel);
  context.fill();
  top.forEach((one, index) => {
    const y = gap * 1.5 + row * (index + 0.5);
    const left = gap * 4 + names;
    context.fillStyle = "#fff";
    context.fillText(one.class_name, 2 * gap, y);
    context.fillText(shares[index], left + bar + gap, y);
    context.fillStyle = "rgb(255 255 255 / 20%)";
    context.fillRect(left, y - letter / 2, bar, letter);
    context.fillStyle = colour(index);
    context.fillRect(left, y - letter / 2, bar * one.confidence, letter);
  });
}
