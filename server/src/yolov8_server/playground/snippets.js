// SPDX-License-Identifier: Apache-2.0
// The request of the moment as curl, Python and JSON. Each works as it stands, beside a file of the picture's name.

import { requestHead } from "./triton.js";

/** @typedef {{origin: string, model: {name: string, task: string}, file: string, size: number, parameters: import("./triton.js").Parameters}} Request */

/** A word of a POSIX shell. @param {string} word */
const quoted = (word) => (/^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** @param {Request} request */
export function curl({ origin, model, file, parameters }) {
  const [before, between, after] = JSON.stringify(requestHead(-1, parameters)).replaceAll("'", "\\u0027").split("-1");
  return `IMAGE=${quoted(file)}
SIZE=$(($(wc -c < "$IMAGE")))
HEADER='${before}'$SIZE'${between}'$SIZE'${after}'
{ printf %s "$HEADER"; cat "$IMAGE"; } |
  curl --silent --fail-with-body ${origin}/v2/models/${encodeURIComponent(model.name)}/infer \\
    -H 'Content-Type: application/octet-stream' \\
    -H "Inference-Header-Content-Length: \${#HEADER}" --data-binary @-`;
}

/** @param {Request} request */
export function python({ origin, model, file, parameters }) {
  const options = Object.entries(parameters).map(([name, value]) => `, ${name}=${literal(name, value)}`);
  const loop =
    model.task === "classify"
      ? "for best in found.top():\n    print(best.class_name, best.confidence)"
      : "for one in found.to_dict()[\"objects\"]:\n    print(one)";
  return `# pip install './client[http]' in a checkout of yolov8-triton
from yolov8_triton import Client

with Client(${JSON.stringify(origin)}, model=${JSON.stringify(model.name)}) as client:
    found = client.${model.task}(${JSON.stringify(file)}${options.join("")})

${loop}`;
}

/** @param {string} name @param {number | string | boolean} value */
function literal(name, value) {
  if (name === "classes") return `[${String(value).replaceAll(",", ", ")}]`;
  return value === true ? "True" : value === false ? "False" : JSON.stringify(value);
}

/** The JSON that precedes the image in a request. @param {Request} request */
export const json = ({ size, parameters }) => JSON.stringify(requestHead(size, parameters), null, 2);
