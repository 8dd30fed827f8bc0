# SPDX-License-Identifier: Apache-2.0
"""The pytorch drop-in reads or refuses a configuration as the source of Triton's own backend (r24.10) does."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.drop_ins import module_fixture

refusals = module_fixture("pytorch", "pytorch_refusals")
options = module_fixture("pytorch", "pytorch_options")


INPUT = {"name": "images", "data_type": "TYPE_FP32", "dims": [3, 640, 640]}
OUTPUT = {"name": "output0", "data_type": "TYPE_FP32", "dims": [84, 8400]}


def config(**changes: Any) -> dict[str, Any]:
    return {"max_batch_size": 8, "input": [INPUT], "output": [OUTPUT], "parameters": {}} | changes


def named(*names: str) -> list[dict[str, Any]]:
    return [INPUT | {"name": name} for name in names]


@pytest.mark.parametrize(
    ("names", "arguments", "order"),
    [
        pytest.param(["b", "a"], ["a", "b"], ["a", "b"], id="names-of-the-arguments"),
        pytest.param(["INPUT__1", "INPUT__0"], ["a", "b"], ["INPUT__0", "INPUT__1"], id="numbers"),
        pytest.param(["left__1", "right__0"], ["a", "b"], ["right__0", "left__1"], id="numbers-behind-any-name"),
        pytest.param(["images", "a"], ["a", "b"], ["images", "a"], id="one-is-no-argument-so-the-order-counts"),
        pytest.param(["INPUT__1", "INPUT__x"], ["a", "b"], ["INPUT__1", "INPUT__x"], id="one-has-no-number"),
    ],
)
def test_inputs_are_found_by_name_then_by_number_then_by_order(
    refusals: ModuleType, names: list[str], arguments: list[str], order: list[str]
) -> None:
    assert refusals.input_order(config(input=named(*names)), arguments) == order


def test_outputs_are_found_by_number_or_by_order(refusals: ModuleType) -> None:
    numbered = config(output=named("OUTPUT__1", "OUTPUT__0"))

    assert refusals.output_places(numbered) == {"OUTPUT__1": 1, "OUTPUT__0": 0}
    assert refusals.output_places(config(output=named("output0", "output1"))) == {"output0": 0, "output1": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"platform": "torch_aoti"}, "without batches", id="aot-inductor"),
        pytest.param({"sequence_batching": {"direct": {}}}, "sequence_batching is not served", id="sequences"),
        pytest.param({"input": []}, "at least one input", id="no-input"),
        pytest.param({"output": []}, "at least one output", id="no-output"),
        pytest.param({"input": [INPUT | {"data_type": "TYPE_UINT16"}]}, "unsupported datatype TYPE_UINT16", id="type"),
        pytest.param({"output": [OUTPUT | {"data_type": "TYPE_BF16"}]}, "TYPE_BF16 for output 'output0'", id="bf16"),
        pytest.param({"input": [INPUT | {"data_type": "TYPE_STRING"}]}, "TYPE_STRING is not served", id="strings"),
        pytest.param({"input": [INPUT | {"allow_ragged_batch": True}]}, "ragged inputs are not served", id="ragged"),
    ],
)
def test_a_configuration_that_cannot_be_served_is_refused(
    refusals: ModuleType, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(refusals.RefusedConfigError, match=reason):
        refusals.check_environment(config(**changes))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param([("x", "Tensor"), ("y", "Tensor")], "expects 1 inputs, model provides 2: x, y", id="too-few"),
        pytest.param([], "model provides 0: none", id="none"),
        pytest.param([("x", "Dict[str, Tensor]")], "'x' of the module is a Dict", id="dictionary"),
    ],
)
def test_other_arguments_are_refused(refusals: ModuleType, arguments: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(refusals.RefusedConfigError, match=reason):
        refusals.check_inputs(config(), arguments)


def test_a_number_that_no_argument_has_is_refused(refusals: ModuleType) -> None:
    with pytest.raises(refusals.RefusedConfigError, match="don't name each argument"):
        refusals.input_order(config(input=named("INPUT__1")), ["x"])


@pytest.mark.parametrize(
    ("place", "found", "reason"),
    [
        pytest.param(1, [([1, 84, 8400], "float32")], "This model has 1 outputs", id="missing"),
        pytest.param(
            0, [([1, 84, 8400], "float16")], "TYPE_FP32 in the configuration, the module's float16", id="type"
        ),
        pytest.param(0, [([1, 84, 2100], "float32")], r"the module gives \[84, 2100\]", id="dims"),
        pytest.param(0, [([1, 84], "float32")], r"the module gives \[84\]", id="rank"),
    ],
)
def test_what_the_module_does_not_give_is_refused(
    refusals: ModuleType, place: int, found: list[tuple[list[int], str]], reason: str
) -> None:
    types = {"TYPE_FP32": "float32"}
    refusals.check_output(OUTPUT, 0, [([1, 84, 8400], "float32")], types, batches=True)
    refusals.check_output(OUTPUT | {"dims": [84, -1]}, 0, [([1, 84, 8400], "float32")], types, batches=True)

    with pytest.raises(refusals.RefusedConfigError, match=reason):
        refusals.check_output(OUTPUT, place, found, types, batches=True)


def read(options: ModuleType, **values: str) -> Any:
    return options.read_options(config(parameters={key: {"string_value": text} for key, text in values.items()}))


def test_the_defaults_are_those_of_the_source(options: ModuleType) -> None:
    said = read(options)

    assert said.optimized
    assert said.inference_mode
    assert said.cudnn
    assert (said.jit_profiling, said.jit_executor, said.tensor_fuser) == (None, None, None)
    assert (said.intra_op_threads, said.inter_op_threads) == (0, 0)


def test_each_parameter_of_the_source_is_read(options: ModuleType) -> None:
    flags = ("ENABLE_JIT_PROFILING", "ENABLE_JIT_EXECUTOR", "ENABLE_TENSOR_FUSER", "INFERENCE_MODE")
    off = {**dict.fromkeys(flags, "false"), "DISABLE_CUDNN": "1", "DISABLE_OPTIMIZED_EXECUTION": "On"}

    said = read(options, **off, INTRA_OP_THREAD_COUNT="2 threads", INTER_OP_THREAD_COUNT="-1", unknown="is ignored")

    assert not said.optimized
    assert not said.inference_mode
    assert not said.cudnn
    assert (said.jit_profiling, said.jit_executor, said.tensor_fuser) == (False, False, False)
    assert (said.intra_op_threads, said.inter_op_threads) == (2, -1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DISABLE_OPTIMIZED_EXECUTION", "yes"),
        ("ENABLE_WEIGHT_SHARING", ""),
        ("INTRA_OP_THREAD_COUNT", "two"),
        ("INTER_OP_THREAD_COUNT", "99999999999"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused(options: ModuleType, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"parameter {name} is '{text}', expected"):
        read(options, **{name: text})
