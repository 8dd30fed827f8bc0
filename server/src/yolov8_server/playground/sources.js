// SPDX-License-Identifier: Apache-2.0
// Where pictures come from: files, the clipboard, a drawn scene, a camera, a video file.

/** @typedef {ImageBitmap | OffscreenCanvas} Picture */
/** @typedef {{picture: Picture, blob: Blob, name: string}} Still A picture, the bytes to send, and a file's name. */

const LONGEST = 1280; // pixels of a frame's longer side; networks see 640 or so
const QUALITY = 0.9;

/**
 * A picture as the server sees it: turned by EXIF, but for WebP.
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<Still>}
 */
export async function still(blob, name) {
  try {
    const imageOrientation = blob.type === "image/webp" ? "none" : "from-image";
    return { picture: await createImageBitmap(blob, { imageOrientation }), blob, name };
  } catch {
    throw new Error(`“${name}” is not a picture that this browser can show. Choose a JPEG, PNG, WebP or BMP file.`);
  }
}

/** Frames of a camera or of a video file, the newest at any time. */
export class Frames {
  /** @type {MediaStream | null} */ #stream = null;
  #frame = 0;
  #url = "";

  /** @param {string} name File name of a frame. */
  constructor(name) {
    this.name = name;
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, hidden: true });
    document.body.append(this.video); // some browsers show no frames of a video outside the page
  }

  /** Open the camera. */
  static async camera() {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give the camera only to pages with https, or at localhost. Open this page at such an address.");
    }
    const frames = new Frames("camera.jpg");
    try {
      frames.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: LONGEST } }, audio: false });
      frames.video.srcObject = frames.#stream;
      await frames.video.play();
    } catch (error) {
      frames.close();
      throw new Error(refusal(/** @type {DOMException} */ (error).name));
    }
    return frames;
  }

  /**
   * Play a video file, again and again.
   * @param {File} file
   */
  static async file(file) {
    const frames = new Frames(`${file.name.replace(/\.[^.]*$/, "")}.jpg`);
    frames.#url = URL.createObjectURL(file);
    frames.video.src = frames.#url;
    frames.video.loop = true;
    try {
      await frames.video.play();
    } catch {
      frames.close();
      throw new Error(`“${file.name}” is not a video that this browser can play. MP4 (H.264) and WebM play in most.`);
    }
    return frames;
  }

  /**
   * Call back until `close`.
   * @param {() => void} changed The video shows a new frame.
   * @param {() => void} ended The camera is gone.
   */
  watch(changed, ended) {
    for (const track of this.#stream?.getTracks() ?? []) track.addEventListener("ended", ended);
    const next = () => {
      changed();
      this.#frame = this.video.requestVideoFrameCallback(next);
    };
    this.#frame = this.video.requestVideoFrameCallback(next);
  }

  /** The frame of this moment. @returns {Promise<Still>} */
  async capture() {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    const picture = new OffscreenCanvas(Math.round(videoWidth * scale), Math.round(videoHeight * scale));
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (picture.getContext("2d", { alpha: false, willReadFrequently: true }));
    context.drawImage(this.video, 0, 0, picture.width, picture.height);
    return { picture, blob: await picture.convertToBlob({ type: "image/jpeg", quality: QUALITY }), name: this.name };
  }

  close() {
    this.video.cancelVideoFrameCallback(this.#frame);
    this.video.pause();
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.video.srcObject = null;
    this.video.remove();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }
}

/** @param {string} name */
function refusal(name) {
  if (name === "NotAllowedError") return "The camera is blocked for this page. Allow it in the browser's address bar, and try again.";
  if (name === "NotFoundError") return "This machine has no camera. Connect one, or choose a video file.";
  return "The camera does not start. Another program may be using it.";
}

/**
 * Draw a scene of circles, squares and triangles: a sample that needs no file.
 * @param {number} seed
 * @returns {Promise<Still>}
 */
export async function scene(seed) {
  const name = `scene-${seed}.png`;
  const random = () => ((seed = (seed * 48271) % 2147483647) / 2147483647); // the same scene for the same seed
  const [width, height, cells] = [640, 480, 4];
  for (let skipped = 0; skipped < 3; skipped++) random(); // small seeds begin alike
  const picture = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (picture.getContext("2d"));
  const hue = random() * 360;
  context.fillStyle = `hsl(${hue} 18% 46%)`;
  context.fillRect(0, 0, width, height);
  for (let cell = 0; cell < cells; cell++) {
    const [column, row] = [cell % 2, Math.floor(cell / 2)];
    const radius = 55 + random() * 40;
    context.save();
    context.translate((column + 0.5) * (width / 2) + (random() - 0.5) * 80, (row + 0.5) * (height / 2) + (random() - 0.5) * 30);
    context.rotate(random() * 7);
    context.fillStyle = `hsl(${hue + 90 + cell * 60} 85% ${cell % 2 ? 70 : 30}%)`;
    polygon(context, [3, 4, 60][(cell + Math.floor(random() * 3)) % 3], radius);
    context.restore();
  }
  return { picture, blob: await picture.convertToBlob({ type: "image/png" }), name };
}

/** @param {OffscreenCanvasRenderingContext2D} context @param {number} sides @param {number} radius */
function polygon(context, sides, radius) {
  context.beginPath();
  for (let side = 0; side < sides; side++) {
    const angle = (side / sides) * 2 * Math.PI;
    context.lineTo(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  context.fill();
}
