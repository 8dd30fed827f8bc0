# SPDX-License-Identifier: Apache-2.0
"""The command ``canary``: two models on the same images, and what follows from their differences."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from yolov8_triton._canary.comparison import DEFAULT_LIMITS, CanaryLimits, Comparison
from yolov8_triton._canary.control import ModelControl
from yolov8_triton._canary.metrics import exposition
from yolov8_triton._cli.access import connected
from yolov8_triton._cli.compared import compare_models
from yolov8_triton._cli.options import ServerOptions
from yolov8_triton._cli.output import ExitCode, complain, exiting, file_to_write, table
from yolov8_triton._cli.rollout import ControlOptions, control_of
from yolov8_triton._client import Client

EXIT_CODES = {"promote": ExitCode.OK, "roll back": ExitCode.BEYOND_LIMITS, "undecided": ExitCode.UNDECIDED}
METRICS_S = 5.0
"""Time between two versions of the file of metrics."""
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
            return CanaryLimits(**{name.removeprefix("max_"): value for name, value in asdict(self).items()})
        except ValueError as exc:
            raise typer.BadParameter(str(exc), param_hint="--max-...") from exc


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is compared, and where the comparison goes.

    Attributes:
        max_images: Largest number of images to compare; a camera never ends by itself.
        new_url: Address of the server that has NEW, if it is another deployment; repeat it for several servers.
        output: File to write the comparison to, as JSON.
        metrics: File to write the comparison to as metrics, for the textfile collector of Prometheus' node exporter.
        as_json: Print the comparison as JSON instead of tables.
    """

    max_images: Annotated[int | None, typer.Option(min=1, metavar="NUMBER")] = None
    new_url: Annotated[list[str] | None, typer.Option(metavar="ADDRESS")] = None
    output: Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False)] = None
    metrics: Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False)] = None
    as_json: Annotated[bool, typer.Option("--json")] = False


def canary(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False)],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Images, folders, patterns, videos, URLs of streams, or numbers of cameras",
            show_default=False,
        ),
    ],
    server: ServerOptions,
    control: ControlOptions,
    limits: LimitOptions,
    report: ReportOptions,
    conf: Annotated[float | None, typer.Option(min=0, max=1, metavar="SCORE", help="Lowest score of an object")] = None,
    in_flight: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Images in flight, each to both models")] = 2,
    apply: Annotated[
        bool, typer.Option("--apply", help="Promote NEW under the name OLD, or unload NEW, as the verdict says")
    ] = False,
) -> None:
    """Ask two models about the same images and compare their objects, until the verdict is sure."""
    chosen = limits.limits()
    _check(old, new, apply, report)
    options: dict[str, Any] = {} if conf is None else {"conf": conf}
    there = server if report.new_url is None else replace(server, url=report.new_url)
    option = "--url" if report.new_url is None else "--new-url"
    with exiting():
        with connected(ctx, server, old) as first, connected(ctx, there, new, option=option) as second:
            _check_alike(first, second)
            comparison = Comparison(task=first.task, labels=first.labels, limits=chosen)
            tell = _Metrics(report.metrics, comparison, old=_named(old, server), new=_named(new, there))
            tell.write()
            most, models = report.max_images, (first, second)
            try:
                compare_models(comparison, models, sources, options=options, in_flight=in_flight, most=most, told=tell)
            finally:
                tell.write()
        values = {"old": old, "new": new, **comparison.to_dict()}
        _report(values, report)
        if apply and values["verdict"] == "undecided":
            complain("nothing was applied: give more images, or other limits")
        elif apply:
            with control_of(ctx, server, control) as models_control:
                _apply(models_control, values["verdict"], old=old, new=new)
    raise typer.Exit(EXIT_CODES[values["verdict"]])


def _check(old: str, new: str, apply: bool, report: ReportOptions) -> None:
    """Refuse what can be known to fail before anything is asked.

    Raises:
        typer.BadParameter: Options exclude each other, or a file has no folder.
    """
    if apply and report.new_url is not None:
        problem = "two deployments have no name to exchange: shift the share of the route instead (docs/kubernetes.md)"
        raise typer.BadParameter(problem, param_hint="--apply, --new-url")
    if old == new and report.new_url is None:
        raise typer.BadParameter(f"expected another model than OLD, got {new!r} for both", param_hint="NEW")
    for option, path in (("--output", report.output), ("--metrics", report.metrics)):
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"{path}: the folder {str(path.parent)!r} does not exist", param_hint=option)


def _check_alike(first: Client, second: Client) -> None:
    """Refuse two models whose answers can't be compared.

    Raises:
        typer.BadParameter: They differ in task or class names.
        YoloTritonError: One is not there, which says nothing about differences between detections.
    """
    second.check()
    for name in ("task", "labels"):
        expected, got = (getattr(one, name) for one in (first, second))
        if expected != got:
            shown = [getattr(one, "value", one) for one in (expected, got)]
            raise typer.BadParameter(f"expected the {name} of OLD, {shown[0]!r}, got {shown[1]!r}", param_hint="NEW")


def _named(model: str, server: ServerOptions) -> str:
    """Return what tells a model from one of the same name elsewhere, without a user's name and password."""
    return f"{model} at {server.url[0].rpartition('@')[2]}"


class _Metrics:
    """A file of metrics that follows a comparison; it is always whole. Calls write it now and then."""

    def __init__(self, path: Path | None, comparison: Comparison, *, old: str, new: str) -> None:
        self._path = None if path is None else file_to_write(path, "--metrics")
        self._comparison, self._old, self._new = comparison, old, new
        self._due = 0.0

    def __call__(self) -> None:
        if self._path is not None and time.monotonic() > self._due:
            self.write()

    def write(self) -> None:
        if self._path is None:
            return
        text = exposition(self._comparison.to_dict(), old=self._old, new=self._new)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            draft.write_bytes(text)
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        self._due = time.monotonic() + METRICS_S


def _report(values: Mapping[str, Any], report: ReportOptions) -> None:
    if report.output is not None:
        report.output.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if report.as_json:
        typer.echo(json.dumps(values, ensure_ascii=False))
    else:
        _show(Console(highlight=False), values)


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
