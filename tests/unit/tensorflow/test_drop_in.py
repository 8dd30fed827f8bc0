# SPDX-License-Identifier: Apache-2.0
"""The tensorflow backend matches a configuration's tensors with a signature's, and refuses what it can't serve."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.drop_ins import module_fixture

tensors = module_fixture("tensorflow", "tensorflow_tensors")
options = module_fixture("tensorflow", "tensorflow_options")


INPUT = {"name": "images", "data_type": "TYPE_FP32", "dims": [640, 640, 3]}
HEAD = {"name": "output0", "data_type": "TYPE_FP32", "dims": [116, 8400]}
MASKS = {"name": "output1", "data_type": "TYPE_FP32", "dims": [32, 160, 160]}


def config(**changes: Any) -> dict[str, Any]:
    return {"max_batch_size": 8, "input": [INPUT], "output": [HEAD, MASKS], "parameters": {}} | changes


def found(tensors: ModuleType, *shape: int | None, kind: str = "float32") -> Any:
    return tensors.Found(kind, shape)


@pytest.mark.parametrize(
    ("signature", "sources"),
    [
        pytest.param(
            {"output0": (None, 116, 8400), "output1": (None, 32, 160, 160)},
            {"output0": ("output0", False), "output1": ("output1", False)},
            id="the-same-names",
        ),
        pytest.param(
            {"output_0": (1, 116, 8400), "output_1": (1, 160, 160, 32)},
            {"output0": ("output_0", False), "output1": ("output_1", True)},
            id="other-names-and-channels-last",
        ),
        pytest.param(
            {"Identity": (1, 160, 160, 32), "Identity_1": (1, 116, 8400)},
            {"output0": ("Identity_1", False), "output1": ("Identity", True)},
            id="another-order",
        ),
    ],
)
def test_outputs_are_found_by_name_or_by_what_fits(
    tensors: ModuleType, signature: dict[str, tuple[int | None, ...]], sources: dict[str, tuple[str, bool]]
) -> None:
    given = {name: found(tensors, *shape) for name, shape in signature.items()}

    matched = tensors.output_sources(config(), given)

    assert {name: (one.name, one.transposed) for name, one in matched.items()} == sources


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        pytest.param({"a": (None, 116, 8400)}, "expects 2 outputs, model provides 1: a", id="too-few"),
        pytest.param(
            {"output0": (None, 116, 2100), "output1": (None, 32, 160, 160)},
            r"'output0' is TYPE_FP32 \[116, 8400\] in the configuration, the model's float32 \[-1, 116, 2100\]",
            id="dims",
        ),
        pytest.param({"a": (None, 116), "b": (None, 32, 160, 160)}, r"\[116, 8400\]", id="rank"),
    ],
)
def test_other_outputs_are_refused(
    tensors: ModuleType, signature: dict[str, tuple[int | None, ...]], reason: str
) -> None:
    given = {name: found(tensors, *shape) for name, shape in signature.items()}

    with pytest.raises(tensors.RefusedConfigError, match=reason):
        tensors.output_sources(config(), given)


def test_an_output_of_another_type_is_refused(tensors: ModuleType) -> None:
    given = {"output0": found(tensors, None, 116, 8400, kind="float16")}

    with pytest.raises(tensors.RefusedConfigError, match="the model's float16"):
        tensors.output_sources(config(output=[HEAD]), given)


def test_an_input_may_have_another_name_and_an_unknown_shape(tensors: ModuleType) -> None:
    assert tensors.input_names(config(), {"x": found(tensors, None, None, None, 3)}) == {"images": "x"}
    assert tensors.input_names(config(), {"images": tensors.Found("float32", None)}) == {"images": "images"}
    assert tensors.input_names(config(max_batch_size=1), {"x": found(tensors, 1, 640, 640, 3)}) == {"images": "x"}


@pytest.mark.parametrize(
    ("shape", "kind", "batch", "reason"),
    [
        pytest.param((None, 3, 640, 640), "float32", 8, r"the model's float32 \[-1, 3, 640, 640\]", id="planes"),
        pytest.param((None, 640, 640, 3), "uint8", 8, "the model's uint8", id="type"),
        pytest.param(
            (1, 640, 640, 3), "float32", 8, "a fixed batch of 1, max_batch_size is 8; set it to 1", id="batch"
        ),
        pytest.param((4, 640, 640, 3), "float32", 4, "requests bring other numbers of images", id="batch-of-4"),
    ],
)
def test_other_inputs_are_refused(
    tensors: ModuleType, shape: tuple[int | None, ...], kind: str, batch: int, reason: str
) -> None:
    with pytest.raises(tensors.RefusedConfigError, match=reason):
        tensors.input_names(config(max_batch_size=batch), {"images": found(tensors, *shape, kind=kind)})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"sequence_batching": {"direct": {}}}, "sequence_batching is not served", id="sequences"),
        pytest.param({"input": []}, "at least one input", id="no-input"),
        pytest.param({"output": []}, "at least one output", id="no-output"),
        pytest.param({"input": [INPUT | {"data_type": "TYPE_STRING"}]}, "datatype TYPE_STRING for input", id="strings"),
        pytest.param({"output": [HEAD | {"data_type": "TYPE_BF16"}]}, "TYPE_BF16 for output 'output0'", id="bf16"),
        pytest.param({"input": [INPUT | {"allow_ragged_batch": True}]}, "ragged and reshape", id="ragged"),
        pytest.param({"output": [HEAD | {"reshape": {"shape": [1]}}]}, "ragged and reshape", id="reshape"),
    ],
)
def test_a_configuration_that_cannot_be_served_is_refused(
    tensors: ModuleType, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(tensors.RefusedConfigError, match=reason):
        tensors.check_environment(config(**changes))


def read(options: ModuleType, **values: str) -> Any:
    return options.read_options(config(parameters={key: {"string_value": text} for key, text in values.items()}))


def test_the_defaults_leave_the_threads_to_tensorflow(options: ModuleType) -> None:
    said = read(options, unknown="is ignored")

    assert (said.intra_op_threads, said.inter_op_threads, said.tf32) == (0, 0, False)
    assert (said.signature, said.tags) == ("serving_default", None)


def test_each_parameter_is_read(options: ModuleType) -> None:
    said = read(
        options,
        INTRA_OP_THREAD_COUNT="2",
        INTER_OP_THREAD_COUNT="1",
        tf32="true",
        TF_GRAPH_TAG="serve",
        TF_SIGNATURE_DEF="s",
    )

    assert (said.intra_op_threads, said.inter_op_threads, said.tf32) == (2, 1, True)
    assert (said.signature, said.tags) == ("s", ("serve",))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("INTRA_OP_THREAD_COUNT", "-1"),
        ("INTER_OP_THREAD_COUNT", "9999"),
        ("INTRA_OP_THREAD_COUNT", "two"),
        ("tf32", "yes"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused(options: ModuleType, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"parameter {name} is '{text}', expected"):
        read(options, **{name: text})
