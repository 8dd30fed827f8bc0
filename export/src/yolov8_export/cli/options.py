# SPDX-License-Identifier: AGPL-3.0-or-later
"""The options of ``export``, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from yolov8_contract.task import Task
from yolov8_export.config.deployment import (
    Accelerator,
    Device,
    Engine,
    NetworkInput,
    NetworkOutput,
    Precision,
    Preprocess,
)
from yolov8_export.overrides import join_imgsz

_MODEL = "The model"
_RUN = "How it runs"
_REQUESTS = "Requests"
_PRECISION = "Precision"


class ExportCommand(TyperCommand):
    """A command whose ``--imgsz`` takes one number or two."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; newer versions of Typer carry a Click of their own, so the context has no one type."""
        return super().parse_args(ctx, join_imgsz(args))


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


Weights = Annotated[str, typer.Argument(help="A .pt or .onnx file, or a name such as yolov8n.pt.")]
Name = Annotated[str | None, typer.Option(help="Name to serve it under.", show_default="the file's")]
Repository = Annotated[Path, typer.Option(help="Folder that Triton serves; made if missing.")]
CheckedRepository = Annotated[Path, typer.Argument(help="Folder that Triton serves.")]
ServedName = Annotated[str, typer.Argument(help="The served model's name.")]
ServedRepository = Annotated[Path, typer.Option("--repository", help="Folder that Triton serves.")]
ConfigName = Annotated[
    str | None,
    typer.Option(
        "--config-name", help="Of the configurations to read, as Triton's --model-config-name.", show_default="none"
    ),
]
AddedConfigName = Annotated[str, typer.Argument(metavar="CONFIG_NAME", help="Of the configuration, such as l4.")]
Version = Annotated[
    int | None,
    typer.Option(help="Add this version to the model that is there.", show_default="replace it by version 1"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Imgsz = Annotated[
    str | None,
    _option(help="Input size in pixels: N, or H W.", panel=_MODEL, metavar="N|H W", show_default="as trained"),
]
TaskOption = Annotated[Task | None, _option("--task", help="For an .onnx that does not say it.", panel=_MODEL)]
Labels = Annotated[
    str | None, _option(help="Class names: a file with one a line, or 'cat,dog'.", panel=_MODEL, show_default="its own")
]
KptShape = Annotated[
    str | None, _option(help="Points and values of each, for a pose .onnx that does not say it.", panel=_MODEL)
]
Opset = Annotated[int, _option(help="Of the ONNX that a .pt becomes.", panel=_MODEL)]

PrecisionOption = Annotated[
    Precision, _option("--precision", help="Of the network's arithmetic; int8 needs images.", panel=_PRECISION)
]
Calibration = Annotated[
    Path | None, _option(help="Folder of images like those to be served, some 100, for int8.", panel=_PRECISION)
]
Evaluation = Annotated[
    Path | None,
    _option(
        help="Folder of other images to hold the result against FP32.",
        panel=_PRECISION,
        show_default="a third of --calibration",
    ),
]
Truth = Annotated[Path | None, _option(help="COCO annotations of them: mAP then decides.", panel=_PRECISION)]
MaxMapLoss = Annotated[float, _option(help="How much mAP50-95 may be lost.", panel=_PRECISION)]
MinMatched = Annotated[
    float, _option(help="Without annotations: the share of objects that both must find.", panel=_PRECISION)
]

_BY_PROFILE = "the profile's"

Profile = Annotated[
    Literal["cpu", "gpu"], _option(help="Preset of the choices below: embedded server, or NVIDIA GPU.", panel=_RUN)
]
PreprocessOption = Annotated[
    Preprocess | None,
    _option(
        "--preprocess", help="What decodes images; dali: on the GPU, JPEG alone.", panel=_RUN, show_default=_BY_PROFILE
    ),
]
NetworkOption = Annotated[
    Engine | None, _option("--network", help="What runs the network.", panel=_RUN, show_default=_BY_PROFILE)
]
DeviceOption = Annotated[
    Device | None, _option("--device", help="Where the network runs.", panel=_RUN, show_default=_BY_PROFILE)
]
Gpus = Annotated[str | None, _option(help="Numbers of the GPUs to use, such as 0,1.", panel=_RUN, show_default="all")]
AcceleratorOption = Annotated[Accelerator, _option("--accelerator", help="Of ONNX Runtime on a GPU.", panel=_RUN)]
NetworkInputOption = Annotated[
    NetworkInput,
    _option(
        "--network-input",
        help="Between preprocess and network; uint8: a quarter of the bytes, but not for Ultralytics' own client.",
        panel=_RUN,
    ),
]
NetworkOutputOption = Annotated[
    NetworkOutput,
    _option(
        "--network-output",
        help="Between network and postprocess; best-class: one score an anchor, not for Ultralytics' own client.",
        panel=_RUN,
    ),
]
CudaGraphs = Annotated[bool, _option("--cuda-graphs", help="Record and replay kernels (TensorRT).", panel=_RUN)]
MaxBatchSize = Annotated[int, _option(help="Images that a member takes at once.", panel=_RUN)]
Instances = Annotated[
    int | None, _option(help="Copies of the network, side by side.", panel=_RUN, show_default=_BY_PROFILE)
]
Threads = Annotated[int, _option(help="Threads of each copy.", panel=_RUN)]
QueueSize = Annotated[int, _option(help="Requests that may wait; more are refused.", panel=_RUN)]
QueueTimeoutS = Annotated[
    float, _option(help="Seconds that one may wait before it is refused, too; 0: no limit.", panel=_RUN)
]
QueueDelayUs = Annotated[
    int | None,
    _option(help="Microseconds that the network waits for a batch to fill.", panel=_RUN, show_default=_BY_PROFILE),
]

Conf = Annotated[float, _option(help="Default: scores must be above it.", panel=_REQUESTS)]
Iou = Annotated[float, _option(help="Default: objects may overlap so much.", panel=_REQUESTS)]
MaxDet = Annotated[int, _option(help="Default: so many objects at most.", panel=_REQUESTS)]
MaxDetLimit = Annotated[int, _option(help="Requests may ask for so many at most.", panel=_REQUESTS)]
Classes = Annotated[
    str | None, _option(help="Default: only these class ids, such as 0,2.", panel=_REQUESTS, show_default="all")
]
Agnostic = Annotated[bool, _option("--agnostic", help="Default: classes suppress each other.", panel=_REQUESTS)]
MaxPixels = Annotated[int, _option(help="Larger images are refused.", panel=_REQUESTS)]
MaxBytes = Annotated[int, _option(help="Larger files are refused.", panel=_REQUESTS)]

_AS_CONFIG = "as in config.pbtxt"

TunedMaxBatchSize = Annotated[
    int | None, typer.Option(help="Images that a member takes at once.", show_default=_AS_CONFIG)
]
TunedInstances = Annotated[
    int | None, typer.Option(help="Copies of the network, side by side.", show_default=_AS_CONFIG)
]
TunedThreads = Annotated[
    int | None, typer.Option(help="Threads of each copy; on a GPU, of the JPEG decoder.", show_default=_AS_CONFIG)
]
TunedQueueDelayUs = Annotated[
    int | None,
    typer.Option(help="Microseconds that the network waits for a batch to fill.", show_default=_AS_CONFIG),
]
TunedGpus = Annotated[
    str | None, typer.Option(help="Numbers of the GPUs to use, such as 0,1; or all.", show_default=_AS_CONFIG)
]
TunedCudaGraphs = Annotated[
    bool | None,
    typer.Option(
        "--cuda-graphs/--no-cuda-graphs", help="Record and replay kernels (TensorRT).", show_default=_AS_CONFIG
    ),
]
