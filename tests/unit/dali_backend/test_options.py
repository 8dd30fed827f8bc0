# SPDX-License-Identifier: Apache-2.0
"""The dali drop-in reads or refuses a configuration; DALI itself runs in `make test-dali`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.drop_ins import module_fixture

options = module_fixture("dali", "dali_options")


def config(**parameters: str) -> dict[str, Any]:
    return {
        "max_batch_size": 8,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "dims": ["-1"]}],
        "output": [{"name": "images", "data_type": "TYPE_FP32", "dims": ["3", "640", "640"]}],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def test_values_are_read(options: ModuleType) -> None:
    given = config(num_threads="4", split_along_outer_axis="images", unknown="x")

    read = options.DaliOptions.read(given, kind="GPU", device="1")

    assert read == options.DaliOptions(max_batch_size=8, threads=4, device=1, split=frozenset({"images"}))


def test_without_parameters_the_pipeline_keeps_its_own_values(options: ModuleType) -> None:
    read = options.DaliOptions.read(config(), kind="CPU", device="0")

    assert read == options.DaliOptions(max_batch_size=8, threads=None, device=None, split=frozenset())


@pytest.mark.parametrize(
    ("parameters", "kind", "reason"),
    [
        pytest.param({"num_threads": "0"}, "GPU", "num_threads is '0', expected a whole number from 1", id="threads"),
        pytest.param({"num_threads": "two"}, "GPU", "num_threads is 'two'", id="text"),
        pytest.param({"split_along_outer_axis": "image"}, "CPU", "names image, expected outputs", id="split"),
        pytest.param({}, "MODEL", "kind is MODEL, expected KIND_GPU or KIND_CPU", id="kind"),
    ],
)
def test_values_that_cannot_be_used_are_refused(
    options: ModuleType, parameters: dict[str, str], kind: str, reason: str
) -> None:
    with pytest.raises(options.RefusedConfigError) as refusal:
        options.DaliOptions.read(config(**parameters), kind=kind, device="0")

    assert reason in str(refusal.value)


@pytest.mark.parametrize("field", ["sequence_batching", "batch_input", "batch_output", "model_operations"])
def test_fields_that_are_not_served_are_refused(options: ModuleType, field: str) -> None:
    with pytest.raises(options.RefusedConfigError, match=field):
        options.check_config(config() | {field: {"x": 1}})


def test_encoded_images_as_texts_are_refused(options: ModuleType) -> None:
    given = config()
    given["input"][0]["data_type"] = "TYPE_STRING"

    with pytest.raises(options.RefusedConfigError, match="'image': DALI has no TYPE_STRING"):
        options.check_config(given)
