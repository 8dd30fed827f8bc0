# SPDX-License-Identifier: Apache-2.0
"""Print the processor time of each stage of an image beside that of the least which the stage has to do.

    python -m tests.benchmarks.stages [--images FOLDER] [--rounds 30]

Stage and bound take turns on the same image, in one thread, and each line is the sum over all images of the fastest
turn of each. Neighbours on the machine therefore lengthen both alike. Without a folder, images are drawn. The last line
is of a server's processes, see `tests.benchmarks.between_models`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "model_repository" / "yolov8n_preprocess" / "1"))

import cv2
import memory  # type: ignore[import-not-found]  # preprocess's own modules
import numpy as np
import numpy.typing as npt
import pixels  # type: ignore[import-not-found]
from preparation import Preparation, Raw  # type: ignore[import-not-found]

from tests import heads
from tests.benchmarks.between_models import transfer_s
from tests.data import shapes
from yolov8_contract.image_header import ImageLimits, admit
from yolov8_contract.letterbox import Letterbox
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

LIMIT = 1.1
"""Preprocess's largest share of decode, resize and conversion."""
_IMGSZ = (640, 640)
LIMITS = ImageLimits()
_SIZES = ((480, 640), (720, 1280), (1080, 1920))
_OBJECTS = 20
_TRANSFER_ROUNDS = 5
Work = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        stage: What is measured.
        bound: What it is compared with.
        pairs: For each image, the stage's work and the bound's.
        limit: The largest ratio that is promised, if any.
    """

    stage: str
    bound: str
    pairs: Sequence[tuple[Work, Work]]
    limit: float | None = None


def main() -> int:
    """Measure, print, and fail where the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of JPEG files (default: drawn ones)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each stage (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    memory.keep_freed()  # as preprocess does
    pixels.configure_opencv()
    files = photographs(options.images) if options.images else drawn()
    rows = []
    print("| stage | ms | its bound | ms | ratio |\n|---|---:|---|---:|---:|")
    for line in [*preprocess_lines(files), *postprocess_lines()]:
        stage, bound = (each / len(line.pairs) for each in fastest(line.pairs, options.rounds))
        rows.append(told(line, stage, bound))
    rows.append(between_models())
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 1 if any(row["missed"] for row in rows) else 0


def told(line: Line, stage_s: float, bound_s: float) -> dict[str, Any]:
    """Print a line of the table, and return it as plain values."""
    stage, bound = 1e3 * stage_s, 1e3 * bound_s
    missed = line.limit is not None and stage > line.limit * bound
    promised = "" if line.limit is None else f" ({line.limit:g} allowed{', MISSED' if missed else ''})"
    print(f"| {line.stage} | {stage:.2f} | {line.bound} | {bound:.2f} | {stage / bound:.2f}{promised} |", flush=True)
    return {"stage": line.stage, "ms": stage, "bound": line.bound, "bound_ms": bound, "missed": missed}


def between_models() -> dict[str, Any]:
    """Compare the way of the network's input from one python model to the next with one memcpy."""
    numbers = 3 * _IMGSZ[0] * _IMGSZ[1]
    with TemporaryDirectory() as folder:
        stage_s, bound_s = transfer_s(Path(folder), numbers, _TRANSFER_ROUNDS)
    size = f"{4e-6 * numbers:.1f} MB"
    return told(Line(f"{size} from one python model to the next", f"memcpy of {size}", []), stage_s, bound_s)


def fastest(pairs: Sequence[tuple[Work, Work]], rounds: int) -> tuple[float, float]:
    """Return seconds of the processor for both works, summed over the images; the fastest turn of each counts."""
    best = np.full((len(pairs), 2), np.inf)
    for _ in range(rounds):
        for number, pair in enumerate(pairs):
            for which, work in enumerate(pair):
                began = time.thread_time()
                work()
                best[number, which] = min(best[number, which], time.thread_time() - began)
    stage, bound = best.sum(axis=0).tolist()
    return stage, bound


def photographs(folder: Path) -> list[bytes]:
    """Return the folder's JPEG files, the first 16 by name."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))[:16]
    if not files:
        raise SystemExit(f"error: there is no .jpg or .jpeg in {folder}")
    return [path.read_bytes() for path in files]


def drawn() -> list[bytes]:
    """Return a drawn scene in some sizes, as JPEG."""
    scenes = [shapes.scene(number, "detect", size=size).image for number, size in enumerate(_SIZES)]
    return [cv2.imencode(".jpg", scene)[1].tobytes() for scene in scenes]


def preprocess_lines(files: Sequence[bytes]) -> list[Line]:
    """Compare preprocess and its parts with OpenCV's functions alone, in memory that they may use again."""
    model = heads.served(Task.DETECT, classes=80, imgsz=_IMGSZ)
    preparation = Preparation(model, ParameterPolicy(task=model.task, num_classes=len(model.labels)), LIMITS)
    whole, check, decode, fit = [], [], [], []
    for content in files:
        raw = Raw("", np.frombuffer(content, np.uint8)[None])
        image = pixels.decode(content)
        alone = Alone(content, image)
        whole.append((lambda raw=raw: preparation.run(raw), alone.all))
        check.append((lambda content=content: admit(content, model.image_formats, LIMITS), alone.look))
        decode.append((lambda content=content: pixels.decode(content), alone.decode))
        fit.append((lambda image=image: pixels.planes(pixels.letterboxed(image, _IMGSZ)), alone.copy))
    return [
        Line("preprocess", "decode + resize + conversion", whole, LIMIT),
        Line("its check of the header", "memcpy of the file", check),
        Line("its decoding", "`cv2.imdecode` (libjpeg-turbo)", decode),
        Line("its letterbox and conversion to FP32", "`cv2.resize`, memcpy of 4.9 MB", fit),
    ]


class Alone:
    """The three functions that no preprocess can do without, each alone on one image."""

    def __init__(self, content: bytes, image: npt.NDArray[np.uint8]) -> None:
        self._content = np.frombuffer(content, np.uint8)
        self._image = image
        self._shape = Letterbox.fit(pixels.shape(image), _IMGSZ).new_shape
        self._fitted = pixels.letterboxed(image, _IMGSZ)
        self._input, self._copied = np.zeros((2, 3, *_IMGSZ), np.float32)
        self._channel = np.empty(_IMGSZ, np.uint8)

    def decode(self) -> Any:
        """Decode as libjpeg-turbo does in OpenCV."""
        return cv2.imdecode(self._content, cv2.IMREAD_COLOR)

    def look(self) -> None:
        """Copy the file's bytes."""
        self._content.copy()

    def resize(self) -> None:
        """Resize, where the image does not fit as it is."""
        if self._shape != pixels.shape(self._image):
            cv2.resize(self._image, self._shape[::-1], interpolation=cv2.INTER_LINEAR)

    def convert(self) -> Any:
        """Divide each channel by 255."""
        planes = np.empty((3, *_IMGSZ), np.float32)
        for index, plane in enumerate(planes):
            channel = cv2.extractChannel(self._fitted, index, self._channel)
            np.divide(channel, np.float32(255), out=plane, dtype=np.float32)
        return planes

    def copy(self) -> None:
        """Resize, and copy as many bytes as the network's input has."""
        self.resize()
        np.copyto(self._copied, self._input)

    def all(self) -> None:
        """Decode, resize and convert."""
        self.decode()
        self.resize()
        self.convert()


def postprocess_lines() -> list[Line]:
    """Compare postprocess with one look at all scores of the network's output."""
    raw = heads.served(Task.DETECT, classes=80, imgsz=_IMGSZ)
    head = heads.outputs(raw, objects=_OBJECTS)
    best = replace(raw, network_output="best-class")
    return [postprocess_line(raw, head, head[0][4:]), postprocess_line(best, heads.best_class(raw, head), head[0][:2])]


def postprocess_line(model: ServedModel, head: list[npt.NDArray[np.float32]], read: npt.NDArray[np.float32]) -> Line:
    """Compare postprocess with finding the largest of as many numbers as it has to read."""
    return Line(
        f"postprocess, {model.network_output} ({head[0].nbytes / 1e6:.1f} MB, {_OBJECTS} objects)",
        "one look at each score",
        [(lambda: postprocess(model, head, _SIZES[0], RequestParameters()), lambda: read.max())],
    )


if __name__ == "__main__":
    sys.exit(main())
