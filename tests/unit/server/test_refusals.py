# SPDX-License-Identifier: Apache-2.0
"""The onnxruntime drop-in loads and refuses configurations as in the table, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import onnxruntime as ort
import pytest

from tests.unit.server.graphs import GRAPHS, Case, cases

# Fields that tritonserver adds before a backend receives the configuration.
FILLED_IN = {"parameters": {}, "default_model_filename": "model.onnx", "optimization": {}}


def load(drop_in: ModuleType, folder: Path, graph: str, config: dict[str, Any]) -> Any:
    (folder / "1").mkdir()
    onnx.save(GRAPHS[graph], folder / "1" / "model.onnx")
    model = drop_in.TritonPythonModel()
    args = {"model_config": json.dumps(FILLED_IN | config), "model_repository": str(folder), "model_version": "1"}
    model.initialize(args)
    return model


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in cases() if case.refused is not None])
def test_a_configuration_that_triton_refuses_is_refused_with_the_reason(
    drop_in: ModuleType, tmp_path: Path, case: Case
) -> None:
    with pytest.raises(drop_in.RefusedConfigError) as refusal:
        load(drop_in, tmp_path, case.graph, case.config)

    assert case.refused is not None
    assert case.refused in str(refusal.value)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in cases() if case.refused is None])
def test_a_configuration_that_triton_loads_is_loaded(drop_in: ModuleType, tmp_path: Path, case: Case) -> None:
    load(drop_in, tmp_path, case.graph, case.config)


ALL = ort.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.mark.parametrize(
    ("config", "option", "value"),
    [
        pytest.param({}, "graph_optimization_level", ALL, id="level-by-default"),
        pytest.param(
            {"optimization": {"graph": {"level": -1}}},
            "graph_optimization_level",
            ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
            id="level-basic",
        ),
        pytest.param(
            {"optimization": {"graph": {"level": 1}}},
            "graph_optimization_level",
            ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
            id="level-extended",
        ),
        pytest.param(
            {"optimization": {"graph": {"level": 2}}},
            "graph_optimization_level",
            ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
            id="level-none",
        ),
        pytest.param({"optimization": {"graph": {"level": 9}}}, "graph_optimization_level", ALL, id="level-unknown"),
        pytest.param({}, "execution_mode", ort.ExecutionMode.ORT_SEQUENTIAL, id="mode-by-default"),
        pytest.param({"execution_mode": "1"}, "execution_mode", ort.ExecutionMode.ORT_PARALLEL, id="mode-parallel"),
        pytest.param({}, "intra_op_num_threads", 0, id="intra-by-default"),
        pytest.param({"intra_op_thread_count": "3"}, "intra_op_num_threads", 3, id="intra"),
        pytest.param({"intra_op_thread_count": "+3rd"}, "intra_op_num_threads", 3, id="intra-as-stoi-reads-it"),
        pytest.param({"intra_op_thread_count": "-1"}, "intra_op_num_threads", 0, id="intra-below-zero"),
        pytest.param({"inter_op_thread_count": "2"}, "inter_op_num_threads", 2, id="inter"),
        pytest.param({}, "enable_cpu_mem_arena", True, id="arena-by-default"),
        pytest.param({"enable_mem_arena": "False"}, "enable_cpu_mem_arena", False, id="arena-off"),
        pytest.param({"enable_mem_pattern": "off"}, "enable_mem_pattern", False, id="pattern-off"),
        pytest.param({"enable_mem_pattern": "ON"}, "enable_mem_pattern", True, id="pattern-on"),
    ],
)
def test_each_option_reaches_the_session(
    drop_in: ModuleType, config: dict[str, Any], option: str, value: object
) -> None:
    if "optimization" not in config:
        config = {"parameters": {key: {"string_value": text} for key, text in config.items()}}

    assert getattr(drop_in.session_options(config), option) == value


def test_idle_threads_do_not_spin_between_runs(drop_in: ModuleType) -> None:
    options = drop_in.session_options({})

    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
