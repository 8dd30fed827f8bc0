# SPDX-License-Identifier: Apache-2.0
"""Strip a training checkpoint to what inference needs, without a trace of the machine that trained it."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

import torch

from tests.data.shapes import ShapeTask

_LICENCE = "AGPL-3.0 (https://ultralytics.com/license)"


def strip(source: Path, target: Path, *, task: ShapeTask, imgsz: int) -> None:
    """Write the averaged model of a checkpoint of our own training to ``target``, in half precision.

    Raises:
        ValueError: The result would name a path.
    """
    checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    model = (checkpoint.get("ema") or checkpoint["model"]).half()
    arguments = {"task": task, "imgsz": imgsz, "data": "shapes", "single_cls": False}
    model.args = arguments
    model.criterion = None
    model.yaml["yaml_file"] = Path(model.yaml["yaml_file"]).name
    for parameter in model.parameters():
        parameter.requires_grad = False
    torch.save(
        {
            "epoch": -1,
            "model": model,
            "train_args": arguments,
            "version": checkpoint["version"],
            "license": _LICENCE,
        },
        target,
    )
    if paths := path_like_strings(target):
        target.unlink()
        raise ValueError(f"{target}: expected no paths in the checkpoint, got {paths}; strip them in {__file__}")


def path_like_strings(checkpoint: Path) -> list[str]:
    """Return every string pickled in a checkpoint that looks like a path: slashes, and no web address."""
    with zipfile.ZipFile(checkpoint) as archive:
        (pickled,) = (archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    strings = (argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str))
    return sorted({text for text in strings if ("/" in text or "\\" in text) and "https://" not in text})
