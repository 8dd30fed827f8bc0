# SPDX-License-Identifier: Apache-2.0
"""Write models of the gpu profile, with stand-ins for DALI and the network, which need a GPU."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from tritonclient.grpc import model_config_pb2 as pb

from tests import heads
from yolov8_contract import signature
from yolov8_contract.served_model import END2END
from yolov8_contract.task import Task
from yolov8_export.choices import NetworkInput, NetworkOutput
from yolov8_export.config.deployment import DEFAULT_MAX_CANDIDATES, deployment_from
from yolov8_export.config.files import CONFIG, render
from yolov8_export.config.members import ServedModelSpec
from yolov8_export.config.served import as_served
from yolov8_export.model_code import CONTRACT, write_code

STAND_IN = Path(__file__).with_name("stand_in.py")
CLASSES, IMGSZ, STRIDE = 80, (640, 640), 32
"""Those of yolov8n on COCO."""
OBJECTS = 10
IMAGE_SHAPE = (480, 640)
NETWORK_OUTPUTS: tuple[str, ...] = (*(kind for kind in get_args(NetworkOutput) if kind != "auto"), END2END)
CHOSEN = 300
"""The objects that an end-to-end network of Ultralytics chooses."""
_SOURCES = {
    "check": Path("model_repository_gpu", "yolov8n_check", "1"),
    "postprocess": Path("model_repository", "yolov8n_postprocess", "1"),
}
_Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A deployment to measure.

    Attributes:
        images: The network's input, which crosses the host's memory here as it does not with a GPU; None for a single
            number in its place.
        network_output: The network's output, which reaches postprocess through the host's memory with a GPU, too.
        postprocess_instances: The processes of postprocess.
        code: A checkout of this project with the code of check and postprocess; None for this one.
    """

    images: NetworkInput | None
    network_output: str
    postprocess_instances: int = 1
    code: Path | None = None

    @property
    def name(self) -> str:
        """The name of the served model."""
        parts = [self.images or "gpu", self.network_output, str(self.postprocess_instances)]
        return "-".join([*parts, "other"] if self.code else parts)


def write(repository: Path, case: Case) -> None:
    """Write the models of a case into a repository."""
    deployment = deployment_from(
        "gpu",
        network_input=case.images,
        network_output="raw" if case.network_output == END2END else case.network_output,
        postprocess_instances=case.postprocess_instances,
        queue_timeout_s=0,  # a busy machine makes requests wait, and processor time is what is measured
    )
    described = heads.served(Task.DETECT, classes=CLASSES, imgsz=IMGSZ)
    if case.network_output == END2END:
        described = replace(described, network_output=END2END)
    model, head = as_served(described, deployment), network_output(case.network_output)
    spec = ServedModelSpec(name=case.name, model=model, head=(head.shape,), stride=STRIDE, deployment=deployment)
    made = {"output0": head, signature.ORIG_SHAPE.name: np.array(IMAGE_SHAPE, np.int32)}
    for name, config in spec.configs().items():
        role, folder = name.rpartition("_")[2] if "_" in name else None, repository / name / "1"
        if role in _SOURCES:
            write_code(role, config, model, deployment.limits, folder)
            if case.code is not None:
                _replace_code(role, folder, case.code)
        elif role is not None:
            _write_stand_in(config, folder, made, keep_images=case.images is not None)
        else:
            folder.mkdir(parents=True)
        (folder.parent / CONFIG).write_text(render(config), encoding="utf-8")


def network_output(kind: str) -> Any:
    """Return a drawn output of the network for one image, without a batch axis."""
    model = heads.served(Task.DETECT, classes=CLASSES, imgsz=IMGSZ)
    if kind == END2END:
        return heads.chosen(model, heads.outputs(model, objects=OBJECTS, per_object=1, seed=1), CHOSEN)
    raw = heads.outputs(model, objects=OBJECTS, seed=1)
    if kind == "raw":
        return raw[0]
    if kind == "best-class":
        return heads.best_class(model, raw)[0]
    return heads.candidates(model, raw, DEFAULT_MAX_CANDIDATES)[0]


def _replace_code(role: str, folder: Path, checkout: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(checkout / _SOURCES[role], folder, ignore=shutil.ignore_patterns("__pycache__"))
    contract = checkout / "client" / "src" / CONTRACT
    shutil.copytree(contract, folder / CONTRACT, ignore=shutil.ignore_patterns("__pycache__"))


def _write_stand_in(config: pb.ModelConfig, folder: Path, made: _Arrays, *, keep_images: bool) -> None:
    """Turn a configuration into the stand-in's, and write its code and its outputs."""
    config.backend = "python"
    config.instance_group[0].kind = pb.ModelInstanceGroup.KIND_CPU
    for field in ("default_model_filename", "model_warmup"):
        config.ClearField(field)  # type: ignore[arg-type]  # both are fields
    folder.mkdir(parents=True)
    shutil.copy(STAND_IN, folder / "model.py")
    for tensor in (*config.input, *config.output):
        if tensor.name == "images" and not keep_images:
            tensor.dims[:] = [1]
    for tensor in config.output:
        kind = np.uint8 if tensor.data_type == pb.TYPE_UINT8 else np.float32
        np.save(folder / f"{tensor.name}.npy", made.get(tensor.name, np.zeros(tensor.dims, kind)))
