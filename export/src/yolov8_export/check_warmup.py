# SPDX-License-Identifier: AGPL-3.0-or-later
"""Check what a member is warmed up with: a sample that can't be run keeps the model from loading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export import warmup
from yolov8_export.findings import EXPORT_AGAIN, Finding


def warmup_findings(path: Path, config: pb.ModelConfig, model: Path) -> Iterator[Finding]:
    """Check a configuration's samples, and the files of bytes that they name.

    Args:
        path: The configuration's.
        config: Of a member.
        model: The member's folder.
    """
    largest = max(config.max_batch_size, 1)
    for sample in config.model_warmup:
        if sample.batch_size > largest:
            problem = f"warm-up {sample.name!r} has {sample.batch_size} images, the model takes {largest}"
            yield Finding(path, problem, EXPORT_AGAIN)
        for given in sample.inputs.values():
            if given.input_data_file and given.data_type == pb.TYPE_UINT8:
                yield from _file_findings(path, model / warmup.FOLDER / given.input_data_file, math.prod(given.dims))


def _file_findings(path: Path, file: Path, expected: int) -> Iterator[Finding]:
    if not file.is_file():
        yield Finding(file, "is missing: the model would not load", EXPORT_AGAIN)
    elif (size := file.stat().st_size) != expected:
        yield Finding(path, f"warm-up with {expected} bytes of {file.name}, which has {size}", EXPORT_AGAIN)
