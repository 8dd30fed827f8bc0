# SPDX-License-Identifier: Apache-2.0
"""The command ``canary``: two models on the same images, and what follows from their differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from yolov8_triton._canary.comparison import DEFAULT_LIMITS, CanaryLimits, Comparison
from yolov8_triton._canary.control import ModelControl
from yolov8_triton._canary.matching import ImageChange
from yolov8_triton._canary.mirror import judged
from yolov8_triton._cli.access import connected
from yolov8_triton._cli.images import image, named_images
from yolov8_triton._cli.options import ServerOptions
from yolov8_triton._cli.output import SERVER_ERRORS, USAGE_ERRORS, ExitCode, complain, exiting, progress, table
from yolov8_triton._cli.rollout import ControlOptions, control_of
from yolov8_triton._client import Client
from yolov8_triton._images import encoded
from yolov8_triton._in_flight import ahead

EXIT_CODES = {"promote": ExitCode.OK, "roll back": ExitCode.BEYOND_LIMITS, "undecided": ExitCode.UNDECIDED}
STYLES = {"promote": "green", "roll back": "bold red", "undecided": "yellow"}


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """The largest differences, as means over images.

    Attributes:
        max_changed: Share of an image's objects that only one of the models finds.
        max_class_changed: The same among the objects of one class.
        max_score: Shift of the scores of objects that both find.
        max_overlap: What objects that both find lack of a full overlap.
        max_failed: Share of images to which only the new model has no answer.
    """

    max_changed: Annotated[float, typer.Option(metavar="SHARE")] = DEFAULT_LIMITS.changed
    max_class_changed: Annotated[float, typer.Option(metavar="SHARE")] = DEFAULT_LIMITS.class_changed
    max_score: Annotated[float, typer.Option(metavar="SHIFT")] = DEFAULT_LIMITS.score
    max_overlap: Annotated[float, typer.Option(metavar="SHARE")] = DEFAULT_LIMITS.overlap
    max_failed: Annotated[float, typer.Option(metavar="SHARE")] = DEFAULT_LIMITS.failed

    def limits(self) -> CanaryLimits:
        """Return the limits.

        Raises:
            typer.BadParameter: One is out of range.
        """
        try:
            return CanaryLimits(
                changed=self.max_changed,
                class_changed=self.max_class_changed,
                score=self.max_score,
                overlap=self.max_overlap,
                failed=self.max_failed,
            )
        except ValueError as exc:
            raise typer.BadParameter(str(exc), param_hint="--max-...") from exc


def canary(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Image files, folders of images, or patterns", show_default=False),
    ],
    server: ServerOptions,
    control: ControlOptions,
    limits: LimitOptions,
    conf: Annotated[float | None, typer.Option(min=0, max=1, metavar="SCORE", help="Lowest score of an object")] = None,
    in_flight: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Images in flight, each to both models")] = 2,
    apply: Annotated[
        bool, typer.Option("--apply", help="Promote NEW under the name OLD, or unload NEW, as the verdict says")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write the comparison to, as JSON")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON instead of tables")] = False,
) -> None:
    """Ask two models about the same images and compare their objects, until the verdict is sure."""
    chosen = limits.limits()
    options: dict[str, Any] = {} if conf is None else {"conf": conf}
    with exiting():
        with connected(ctx, server, old) as first, connected(ctx, server, new) as second:
            comparison = _compared(first, second, named_images(images), chosen, options, in_flight)
        values = {"old": old, "new": new, **comparison.to_dict()}
        if output is not None:
            output.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        if as_json:
            typer.echo(json.dumps(values, ensure_ascii=False))
        else:
            _show(Console(highlight=False), values)
        if apply and values["verdict"] == "undecided":
            complain("nothing was applied: give more images, or other limits")
        elif apply:
            with control_of(ctx, server, control) as models:
                _apply(models, values["verdict"], old=old, new=new)
    raise typer.Exit(EXIT_CODES[values["verdict"]])


def _compared(
    first: Client, second: Client, paths: Sequence[str], limits: CanaryLimits, options: dict[str, Any], in_flight: int
) -> Comparison:
    """Ask both models about the images until there is a verdict; an image that fails is one line on stderr.

    Raises:
        YoloTritonError: An error that every other image would have as well.
    """
    second.check()  # a new model that is not there is a wrong call, and no difference between detections
    comparison = Comparison(task=first.task, labels=first.labels, limits=limits)
    ask = getattr(first, first.task.value)

    def one(path: str) -> tuple[str, ImageChange | Literal["failed", "dropped"] | Exception]:
        try:
            content = encoded(image(path), channels=None, array_format="bmp")
            return path, judged(second, content, ask(content, **options), options)
        except Exception as exc:  # noqa: BLE001  (whatever one image causes must not end the run)
            return path, exc

    with progress(len(paths), "images") as advance, closing(ahead(one, paths, in_flight)) as answers:
        for path, found in answers:
            advance("")
            if isinstance(found, (*SERVER_ERRORS, *USAGE_ERRORS)):
                raise found
            if isinstance(found, Exception):
                complain(f"{path}: {getattr(found, 'strerror', None) or found}")
            elif found == "dropped":
                complain(f"{path}: the server was too busy for the new model")
            else:
                comparison.add(found)
            if comparison.verdict != "undecided":
                break
    return comparison


def _show(console: Console, values: Mapping[str, Any]) -> None:
    measures = table("measure", right=("mean", "limit", "images"), last=("",))
    for name, one in values["measures"].items():
        mean = "" if one["mean"] is None else f"{one['mean']:.4f}"
        measures.add_row(name, mean, f"{one['limit']:g}", str(one["images"]), "within" if one["within"] else "")
    columns = ("matched", "lost", "new", "matched_share", "score_shift", "overlap")
    classes = table("class", right=columns)
    for name, one in (*values["classes"].items(), ("all", values["objects"])):
        classes.add_row(name, *("" if one[key] is None else f"{one[key]:.5g}" for key in columns))
    console.print(measures, classes)
    for reason in values["reasons"]:
        console.print(Text(reason), soft_wrap=True)
    verdict = values["verdict"]
    console.print(Text(verdict, STYLES[verdict]), f"after {values['images']} images, {values['failed']} failed")


def _apply(models: ModelControl, verdict: str, *, old: str, new: str) -> None:
    if verdict == "promote":
        models.promote(old, new)
        typer.echo(f"{new} answers as {old}; the way back: yolov8-triton rollout back {old}", err=True)
    else:
        typer.echo(f"unloaded: {', '.join(models.unload(new))}", err=True)
