# SPDX-License-Identifier: Apache-2.0
"""Print results as tables, errors as lines and progress as a bar, and define the exit codes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from yolov8_contract import rle
from yolov8_contract.served_model import ServedModel
from yolov8_triton._errors import (
    AccessRefusedError,
    ContractMismatchError,
    InvalidParameterError,
    ModelNotFoundError,
    ServerUnavailableError,
    TlsError,
    WrongTaskError,
    YoloTritonError,
)
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import VISIBLE, Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.outcome import Result
from yolov8_triton._video.source import VideoError

USAGE_ERRORS = (ImportError, InvalidParameterError)
SERVER_ERRORS = (
    AccessRefusedError,
    ContractMismatchError,
    ModelNotFoundError,
    ServerUnavailableError,
    TlsError,
    WrongTaskError,
)
"""Errors that every other image would have as well, as with `USAGE_ERRORS`."""

_METHOD = re.compile(r"call (\w+)\(\)")
"""What an error advises those who write Python."""


class ExitCode(IntEnum):
    """The exit codes of the commands."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    SERVER = 3
    BEYOND_LIMITS = 4
    UNDECIDED = 5
    INTERRUPTED = 130


def complain(text: str) -> None:
    """Write an error to stderr, as one line."""
    _write_line("error", text)


def warn(text: str) -> None:
    """Write a warning to stderr, as one line."""
    _write_line("warning", text)


def _write_line(kind: str, text: str) -> None:
    sys.stderr.write(f"{kind}: {' '.join(text.split())}\n")


@contextmanager
def exiting() -> Iterator[None]:
    """Turn an error into a line on stderr and an exit code."""
    try:
        yield
    except BrokenPipeError:  # the reader of the output has gone; Typer ends the process then
        raise
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as exc:
        complain(": ".join(str(part) for part in (exc.filename, exc.strerror) if part) or str(exc))
        sys.exit(ExitCode.USAGE)
    except (*USAGE_ERRORS, VideoError) as exc:
        complain(str(exc))
        sys.exit(ExitCode.USAGE)
    except YoloTritonError as exc:
        complain(_METHOD.sub(r"use the command \1", str(exc)))
        sys.exit(ExitCode.SERVER)


Found = Detections | Segmentations | Poses | OrientedBoxes


def show_result(console: Console, image: str, result: Result) -> None:
    """Print the result of an image: a line with its size and a summary, then a table of its objects."""
    height, width = result.orig_shape
    console.print(Text(image, "bold"), Text(f"{width} x {height}: {result.summary()}"), soft_wrap=True)
    if len(result):
        console.print(_classes(result) if isinstance(result, ClassProbabilities) else _objects(result))
    if result.timings is not None:
        console.print(Text(result.timings.summary()), soft_wrap=True)


def show_models(console: Console, models: Mapping[str, ServedModel]) -> None:
    """Print a table of models, which fits into 80 columns unless names are long."""
    offers = {name: "\n".join(_offers(model)) for name, model in models.items()}
    some_offer = ["offers"] if any(offers.values()) else []
    shown = table("model", "task", "network", "images", *some_offer, right=("classes", "input"))
    for column in shown.columns[1:3]:
        column.no_wrap = True  # in a narrow terminal, names and formats are what takes several lines
    for name, model in models.items():
        height, width = model.imgsz
        network = (model.family, model.head), (model.engine, model.precision)
        lines = "\n".join(" ".join(filter(None, line)) for line in network).rstrip()
        what = (name, model.task.value, lines, ", ".join(model.image_formats), *([offers[name]] if some_offer else []))
        shown.add_row(*what, str(len(model.labels)), f"{width} x {height}")
    console.print(shown)


def _offers(model: ServedModel) -> Iterator[str]:
    """Yield what requests may ask of a model that not every deployment has."""
    if model.max_slices:
        yield f"{model.max_slices} slices"
    if model.priority_levels:
        yield f"{model.priority_levels} priority levels"
    if model.timings:
        yield "timings"


def _classes(result: ClassProbabilities) -> Table:
    shown = table("class", right=("probability",))
    for one in result.top():
        shown.add_row(one.class_name, f"{one.confidence:.4f}")
    return shown


def _objects(found: Found) -> Table:
    columns = _columns(found)
    shown = table("class", right=("confidence", *columns))
    for name, confidence, *values in zip(found.class_name, found.confidence, *columns.values(), strict=True):
        shown.add_row(str(name), f"{confidence:.3f}", *values)
    return shown


def _columns(found: Found) -> dict[str, list[str]]:
    """Return the columns that say where the objects are: texts by the column's name."""
    if isinstance(found, OrientedBoxes):
        texts = _pixels(("centre x", "centre y", "width", "height"), found.xywhr[:, :4])
        return {**texts, "degrees": [f"{angle:.1f}" for angle in np.degrees(found.xywhr[:, 4])]}
    texts = _pixels(("x1", "y1", "x2", "y2"), found.xyxy)
    if isinstance(found, Segmentations):
        texts["pixels"] = [str(rle.decode_counts(runs)[1::2].sum()) for runs in found.rle]
    if isinstance(found, Poses):
        visible = (found.visibility > VISIBLE).sum(axis=1)
        texts["keypoints"] = [f"{number} of {found.keypoints.shape[1]}" for number in visible]
    return texts


def _pixels(names: Sequence[str], values: npt.NDArray[np.float32]) -> dict[str, list[str]]:
    return {name: [f"{value:.1f}" for value in column] for name, column in zip(names, values.T, strict=True)}


def table(*left: str, right: Sequence[str] = (), last: Sequence[str] = ()) -> Table:
    """Return a table without rows: columns of text, columns of numbers, and again columns of text."""
    empty = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        empty.add_column(name, overflow="fold")
    for name in right:
        empty.add_column(name, justify="right", no_wrap=True)
    for name in last:
        empty.add_column(name, overflow="ellipsis", no_wrap=True)
    return empty


Advance = Callable[[str], None]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return the current rate."""
        return Text("" if task.speed is None else f"{task.speed:.1f} a second")


def file_to_write(path: Path, option: str) -> Path:
    """Return the file that a path means, without links: what is exchanged as a whole must not replace a link.

    Raises:
        InvalidParameterError: It is a folder, a device or a pipe, which would be lost.
    """
    target = Path(os.path.realpath(path))
    if not path.name or (os.path.lexists(target) and not target.is_file()):
        kind = "folder" if not path.name or target.is_dir() else "device or pipe"
        raise InvalidParameterError(f"{option}: expected a file to write, got the {kind} {str(path)!r}")
    return target


@contextmanager
def progress(total: int | None, unit: str) -> Iterator[Advance]:
    """Show a progress bar if stderr is a terminal; yield a function that advances it by one and sets a note.

    Args:
        total: Number of steps; None if it is unknown, so that the bar shows no remaining time.
        unit: Name of the steps.
    """
    if not sys.stderr.isatty() or total == 1:
        yield lambda _: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        *([] if total is None else [TextColumn("left"), TimeRemainingColumn()]),
        TextColumn("{task.fields[note]}", style="yellow"),
        console=Console(stderr=True),
        transient=True,
        # rich would write stdout to stderr, which is wrong if stdout is a file.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task(unit, total=total, note="")
        yield lambda note: bar.update(task, advance=1, note=note)
