# SPDX-License-Identifier: Apache-2.0
"""The openvino drop-in reads or refuses a configuration; networks are described, not loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from tests.drop_ins import module_fixture

refusals = module_fixture("openvino", "openvino_refusals")
options = module_fixture("openvino", "openvino_options")


@dataclass
class Dim:
    length: int

    @property
    def is_static(self) -> bool:
        return self.length >= 0

    def get_length(self) -> int:
        return self.length


@dataclass
class Tensor:
    """Quacks as `openvino.Output` does."""

    name: str
    shape: tuple[int, ...]
    element: str = "f32"

    def get_any_name(self) -> str:
        return self.name

    def get_partial_shape(self) -> list[Dim]:
        return [Dim(length) for length in self.shape]

    def get_element_type(self) -> Any:
        return type("Type", (), {"to_string": lambda _: self.element})()


INPUT = {"name": "images", "data_type": "TYPE_FP32", "dims": [3, 640, 640]}
OUTPUT = {"name": "output0", "data_type": "TYPE_FP32", "dims": [84, 8400]}
INPUTS = [Tensor("images", (-1, 3, 640, 640))]
OUTPUTS = [Tensor("output0", (-1, 84, 8400)), Tensor("output1", (-1, 32, 160, 160))]


def config(**changes: Any) -> dict[str, Any]:
    return {"max_batch_size": 1, "input": [INPUT], "output": [OUTPUT], "parameters": {}} | changes


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="a-subset-of-the-outputs"),
        pytest.param(
            {
                "max_batch_size": 0,
                "input": [INPUT | {"dims": [1, 3, 640, 640]}],
                "output": [OUTPUT | {"dims": [-1, 84, 8400]}],
            },
            id="no-batching",
        ),
    ],
)
def test_what_fits_the_network_is_served(refusals: ModuleType, changes: dict[str, Any]) -> None:
    refusals.check_environment(config(**changes), "CPU")
    refusals.check_tensors(config(**changes), inputs=INPUTS, outputs=OUTPUTS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"max_batch_size": 8}, "fixes the network's batch size at it", id="batch"),
        pytest.param({"sequence_batching": {"direct": {}}}, "sequence_batching is not served", id="sequences"),
        pytest.param({"input": []}, "has 0 inputs, the network 1: images", id="missing-input"),
        pytest.param({"input": [INPUT | {"name": "x"}]}, "input 'x' is not in the network", id="unknown-input"),
        pytest.param({"output": [OUTPUT | {"name": "y"}]}, "which has output0, output1", id="unknown-output"),
        pytest.param({"input": [INPUT | {"data_type": "TYPE_UINT8"}]}, "TYPE_FP32 in the network", id="type"),
        pytest.param({"input": [INPUT | {"dims": [3, 320, 640]}]}, r"\[-1, 3, 640, 640\] in the network", id="dims"),
        pytest.param({"input": [INPUT | {"dims": [3, -1, -1]}]}, "in the network, whose first axis", id="dynamic-dims"),
        pytest.param({"output": [OUTPUT | {"dims": [84, -1]}]}, r"\[84, -1\] in the configuration", id="output-dims"),
        pytest.param({"input": [INPUT | {"allow_ragged_batch": True}]}, "ragged inputs are not served", id="ragged"),
    ],
)
def test_what_does_not_is_refused(refusals: ModuleType, changes: dict[str, Any], reason: str) -> None:
    def check() -> None:
        refusals.check_environment(config(**changes), "CPU")
        refusals.check_tensors(config(**changes), inputs=INPUTS, outputs=OUTPUTS)

    with pytest.raises(refusals.RefusedConfigError, match=reason):
        check()


def test_a_gpu_instance_is_refused(refusals: ModuleType) -> None:
    with pytest.raises(refusals.RefusedConfigError, match="runs on KIND_CPU alone, got KIND_GPU"):
        refusals.check_environment(config(), "GPU")


def parameters(**values: str) -> dict[str, Any]:
    return config(
        parameters={name: {"string_value": value} for name, value in values.items()}, instance_group=[{"count": 2}]
    )


def test_threads_are_shared_by_the_processes_of_a_model(options: ModuleType) -> None:
    read = options.compile_options(parameters(INFERENCE_NUM_THREADS="8", NUM_STREAMS="2"))

    assert (read["INFERENCE_NUM_THREADS"], read["NUM_STREAMS"]) == ("4", "1")


def test_processes_are_not_pinned_to_the_same_cores_and_compute_in_f32(options: ModuleType) -> None:
    read = options.compile_options(parameters())

    assert (read["ENABLE_CPU_PINNING"], read["INFERENCE_PRECISION_HINT"]) == ("NO", "f32")


def test_without_a_number_all_cores_are_shared(options: ModuleType) -> None:
    cores = len(os.sched_getaffinity(0))

    assert options.compile_options(parameters())["INFERENCE_NUM_THREADS"] == str(max(1, cores // 2))


def test_bf16_is_computed_where_it_is_asked_for(options: ModuleType) -> None:
    assert options.compile_options(parameters(HINT_BF16="yes"))["INFERENCE_PRECISION_HINT"] == "bf16"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INFERENCE_NUM_THREADS", "-1"),
        ("COMPILATION_NUM_THREADS", "two"),
        ("NUM_STREAMS", "many"),
        ("HINT_BF16", "no"),
        ("PERFORMANCE_HINT", "fast"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused(
    options: ModuleType, refusals: ModuleType, name: str, value: str
) -> None:
    with pytest.raises(refusals.RefusedConfigError, match=rf"parameter {name} is '(?i:{value})', expected"):
        options.compile_options(parameters(**{name: value}))
