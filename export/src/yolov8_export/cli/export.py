# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command ``export``: make values of its options, export, and print what was done."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import RequestParameters
from yolov8_export.choices import CalibrationData, Profile
from yolov8_export.cli.options import DEFAULT_REPOSITORY, AsJson, Command, Given, Group, Repository, for_each, takes
from yolov8_export.config.deployment import PROFILES, Deployment
from yolov8_export.overrides import DEFAULT_OPSET, OPSETS, ModelOverrides, check_opset, join_imgsz
from yolov8_export.source.weights import find_weights

# The functions below import slow modules themselves, so that --help is fast.

Weights = Annotated[
    str,
    typer.Argument(
        metavar="WEIGHTS",
        help="Path of a .pt, .onnx or .torchscript file, or a name such as yolov8n.pt",
        show_default=False,
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the served model", show_default="the file's name")]
Version = Annotated[
    int | None,
    typer.Option(
        help="Version to add to the model that is there", show_default="replace the model by version 1", metavar="N"
    ),
]
Opset = Annotated[
    int,
    typer.Option(
        help=f"ONNX opset version to export with, {OPSETS.start} to {OPSETS.stop - 1} (not for .onnx input)",
        rich_help_panel="Model",
    ),
]
ProfileOption = Annotated[
    Profile,
    typer.Option(
        help="Set of defaults for the options below: cpu for the embedded server, gpu for an NVIDIA GPU",
        rich_help_panel="Deployment",
    ),
]


class ExportCommand(Command):
    """A command whose ``--imgsz`` takes one number or two."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; newer versions of Typer carry a Click of their own, so the context has no one type."""
        return super().parse_args(ctx, join_imgsz(args))


@takes(
    Group(kind=ModelOverrides, panel="Model", unset=for_each(ModelOverrides, "as in the weights")),
    Group(
        kind=CalibrationData,
        panel="Precision",
        unset={"evaluation": "a third of the calibration images, for int8", "keep_map": "all layers are quantised"},
    ),
    Group(
        kind=Deployment,
        panel="Deployment",
        presets=PROFILES,
        unset={"gpus": "all", "queue_timeout_s": "by the size of the network"},
    ),
    Group(
        kind=RequestParameters,
        panel="Defaults of request parameters",
        unset={"classes": "all"},
        without={"timings"},  # a deployment has no default for it, only `Deployment.timings`
    ),
    Group(kind=ImageLimits, panel="Limits of images"),
)
def export_command(
    weights: Weights,
    name: Name = None,
    repository: Repository = DEFAULT_REPOSITORY,
    version: Version = None,
    as_json: AsJson = False,
    opset: Opset = DEFAULT_OPSET,
    profile: ProfileOption = "cpu",
    *,
    given: Given,
) -> None:
    """Export WEIGHTS, verify the network, and write a served model into a Triton model repository."""
    from yolov8_export.cli.console import print_report
    from yolov8_export.pipeline import default_name, export
    from yolov8_export.progress import Progress
    from yolov8_export.repository.layout import Target

    check_opset(opset)
    deployment = given.change(PROFILES[profile], limits=given.new(ImageLimits), defaults=given.new(RequestParameters))
    path = _find(weights)
    served_name, notes = default_name(path, deployment) if name is None else name, []
    if name is None and served_name != path.stem:
        allowed = "letters, digits, '_' and '.'"
        notes.append(f"{path.stem!r} is served as {served_name!r}: Triton's dali backend takes only {allowed}")
    report = export(
        path,
        Target(repository=repository, name=served_name, version=version),
        overrides=given.new(ModelOverrides),
        deployment=deployment,
        calibration_data=given.new(CalibrationData),
        opset=opset,
        progress=Progress(Console(stderr=True)),
    )
    report = replace(report, notes=(*notes, *report.notes))
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        print_report(report, Console())


def _find(weights: str) -> Path:
    """Find weights in the folder that the environment names, or download them unless the environment forbids it."""
    from yolov8_export.source.weights import download_weights

    folder = os.environ.get("YOLOV8_WEIGHTS_DIR")
    offline = os.environ.get("YOLO_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    return find_weights(
        weights, folder=Path(folder) if folder else None, download=None if offline else download_weights
    )
