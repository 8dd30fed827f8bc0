# SPDX-License-Identifier: AGPL-3.0-or-later
"""What Triton runs through a member's instances before it says that they are ready (``model_warmup``).

A sample of batch size n is n requests of one image each, run as one batch. A sample that fails keeps the model from
loading.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.tensors import Signature, TensorSpec

FOLDER = "warmup"
"""In the model's folder, beside its versions: where Triton looks for the files of samples."""


def zeros(batch_sizes: Iterable[int], tensors: Signature) -> list[pb.ModelWarmup]:
    """Return samples of nothing but zeros, for inputs whose dims are numbers."""
    samples = []
    for size in batch_sizes:
        sample = _sample(size)
        for spec in tensors.inputs:
            sample.inputs[spec.name].CopyFrom(pb.ModelWarmup.Input(data_type=_type(spec), dims=spec.shape))
            sample.inputs[spec.name].zero_data = True
        samples.append(sample)
    return samples


def file(batch_sizes: Iterable[int], spec: TensorSpec, path: Path) -> list[pb.ModelWarmup]:
    """Return samples that give an input of varying length the bytes of a file, which has to lie in `FOLDER`."""
    samples = []
    for size in batch_sizes:
        sample = _sample(size)
        given = pb.ModelWarmup.Input(data_type=_type(spec), dims=[path.stat().st_size], input_data_file=path.name)
        sample.inputs[spec.name].CopyFrom(given)
        samples.append(sample)
    return samples


def _sample(size: int) -> pb.ModelWarmup:
    return pb.ModelWarmup(name=f"batch_{size}", batch_size=size)


def _type(spec: TensorSpec) -> int:
    return int(pb.DataType.Value(spec.dtype.config_name))
