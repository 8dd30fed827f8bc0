# SPDX-License-Identifier: Apache-2.0
"""The tensorrt drop-in: profiles, CUDA graphs, batches and refusals, with fake packages of TensorRT and CuPy.

The fakes run the network with ONNX Runtime, in memory whose addresses the drop-in passes as it would those of a GPU.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.drop_ins import importable
from tests.modules import from_file
from tests.unit.server.graphs import GRAPHS

FAKES = Path(__file__).parents[2] / "fakes" / "gpu"
FACTS: dict[str, Any] = {
    "version": "10.14.1.48",
    "gpu": "NVIDIA L4",
    "profiles": [{"images": [[size, 3, 8, 8] for size in (1, 4, 4)]}],
}
TWO = [{"images": [[size, 3, 8, 8] for size in sizes]} for sizes in ((1, 1, 1), (2, 4, 4))]
CONFIG: dict[str, Any] = {
    "max_batch_size": 4,
    "default_model_filename": "",
    "instance_group": [{"name": "net_0", "kind": "KIND_GPU", "count": 2}],
    "input": [{"name": "images", "data_type": "TYPE_FP32", "dims": [3, 8, 8]}],
    "output": [
        {"name": "output1", "data_type": "TYPE_FP32", "dims": [3]},
        {"name": "output0", "data_type": "TYPE_FP32", "dims": [3, 8, 8]},
    ],
}


class Tensor:
    """Quacks as the stub's tensor does, in main memory or on a GPU."""

    def __init__(self, array: Any, *, on_gpu: bool = True) -> None:
        self.held, self.on_gpu = array, on_gpu

    def is_cpu(self) -> bool:
        return not self.on_gpu

    def as_numpy(self) -> Any:
        assert not self.on_gpu
        return self.held

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


UTILS = SimpleNamespace(
    get_input_tensor_by_name=lambda request, name: request[name],
    Tensor=SimpleNamespace(from_dlpack=lambda name, array: (name, np.array(array))),
    InferenceResponse=lambda tensors=(), error=None: error or dict(tensors),
    TritonError=type("TritonError", (str,), {"INTERNAL": 1, "__new__": lambda cls, text, _: str.__new__(cls, text)}),
    Logger=SimpleNamespace(log_warn=lambda text: warnings.append(text), log_error=lambda text: warnings.append(text)),
)
warnings: list[str] = []


@pytest.fixture
def drop_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the drop-in anew; afterwards nothing of it or of the fakes is left."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", UTILS)
    monkeypatch.syspath_prepend(str(FAKES))
    warnings.clear()
    before = set(sys.modules)
    with importable("tensorrt") as folder:
        yield from_file("tensorrt_drop_in", folder / "model.py")
    for name in set(sys.modules) - before:
        if name == "cupy" or name.startswith("tensorrt"):
            del sys.modules[name]


@pytest.fixture
def load(drop_in: ModuleType, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that loads a model, with fields of the configuration and facts of the plan changed."""
    (tmp_path / "1").mkdir()

    def loaded(facts: dict[str, Any] | None = None, *, kind: str = "GPU", **fields: Any) -> Any:
        head = b"ftrt" + json.dumps(FACTS | (facts or {})).encode()
        (tmp_path / "1" / "model.plan").write_bytes(head + b"\n" + GRAPHS["dynamic"].SerializeToString())
        model = drop_in.TritonPythonModel()
        model.initialize(
            {
                "model_config": json.dumps(copy.deepcopy(CONFIG) | fields),
                "model_repository": str(tmp_path),
                "model_version": "1",
                "model_instance_name": "net_0_1",
                "model_instance_kind": kind,
                "model_instance_device_id": "0",
            }
        )
        return model

    return loaded


def images(*counts: int) -> list[Any]:
    return [np.random.default_rng(count).random((count, 3, 8, 8), np.float32) for count in counts]


def ask(model: Any, arrays: list[Any], *, on_gpu: bool = True) -> list[Any]:
    answers: list[Any] = model.execute([{"images": Tensor(array, on_gpu=on_gpu)} for array in arrays])
    return answers


def check(answers: list[Any], arrays: list[Any]) -> None:
    for answer, array in zip(answers, arrays, strict=True):
        np.testing.assert_array_equal(answer["output0"], -array)
        np.testing.assert_allclose(answer["output1"], array.mean((2, 3)), rtol=1e-5)


def contexts(model: Any) -> list[Any]:
    found: list[Any] = model._runner._contexts
    return found


@pytest.mark.parametrize("on_gpu", [True, False])
def test_requests_of_a_batch_run_together_wherever_their_tensors_are(load: Callable[..., Any], on_gpu: bool) -> None:
    model, arrays = load(), images(1, 3)

    check(ask(model, arrays, on_gpu=on_gpu), arrays)

    assert contexts(model)[0].trt.runs == [(4, 3, 8, 8)]
    assert warnings == []


def test_a_batch_takes_the_profile_whose_best_size_is_nearest(load: Callable[..., Any]) -> None:
    group = CONFIG["instance_group"][0] | {"profile": ["0", "1"]}
    model = load({"profiles": TWO}, instance_group=[group])

    for counts in ((1,), (2,), (1, 2), (1, 1, 1, 1)):
        check(ask(model, images(*counts)), images(*counts))

    assert [len(context.trt.runs) for context in contexts(model)] == [1, 3]


def test_the_first_profile_is_used_unless_the_group_names_others(load: Callable[..., Any]) -> None:
    group = CONFIG["instance_group"][0]
    other = {"name": "other", "kind": "KIND_GPU", "profile": ["0"]}
    model = load({"profiles": TWO}, instance_group=[other, group | {"profile": ["1"]}])

    check(ask(model, images(2)), images(2))
    (alone,) = ask(model, images(1))

    assert "no optimization profile takes the shapes {'images': (1, 3, 8, 8)}" in alone
    check(ask(load({"profiles": TWO}), images(1)), images(1))


def test_a_request_that_no_profile_takes_harms_no_other(load: Callable[..., Any]) -> None:
    model, arrays = load({"profiles": TWO}), images(1, 3, 1)

    first, wrong, last = ask(model, arrays)

    check([first, last], [arrays[0], arrays[2]])
    assert wrong.startswith("tensorrt: no optimization profile takes the shapes")
    assert any("running each alone" in text for text in warnings)


GRAPHS_OF_ALL = {
    "cuda": {"graphs": True, "graph_spec": [{"batch_size": size, "input": {"images": {"dim": ["3", "8", "8"]}}}
                                            for size in (1, 2, 3, 4)]},
}  # fmt: skip


def test_cuda_graphs_give_the_same_answers(load: Callable[..., Any]) -> None:
    model = load(optimization=GRAPHS_OF_ALL)
    (context,) = contexts(model)
    recorded = len(context.trt.runs)

    for counts in ((1,), (3,), (1, 1), (2, 2), (3,)):
        check(ask(model, images(*counts)), images(*counts))

    assert recorded == 4  # each size ran once before it was captured
    assert [graph.cuda.launches for graph in context.graphs] == [1, 1, 2, 1]
    assert len(context.trt.runs) == recorded + 5  # by the graphs alone


def test_a_graph_with_a_lower_bound_runs_smaller_batches(load: Callable[..., Any]) -> None:
    spec = {"batch_size": 4, "graph_lower_bound": {"batch_size": 2}}
    model = load(optimization={"cuda": {"graphs": True, "graph_spec": [spec]}})

    for counts in ((4,), (2,), (1,)):
        check(ask(model, images(*counts)), images(*counts))

    (graph,) = contexts(model)[0].graphs
    assert graph.cuda.launches == 2
    assert contexts(model)[0].trt.runs[-1] == (1, 3, 8, 8)


def test_without_graph_specs_the_backend_chooses_sizes(load: Callable[..., Any]) -> None:
    def sizes(**fields: Any) -> list[int]:
        model = load(optimization={"cuda": {"graphs": True}}, **fields)
        return [graph.shapes["images"][0] for graph in contexts(model)[0].graphs]

    assert sizes() == [1, 2, 3, 4]
    assert sizes(dynamic_batching={}) == [1, 4]
    assert sizes(dynamic_batching={"preferred_batch_size": [3]}) == [1, 3, 4]


def test_a_plan_of_its_compute_capability_is_taken(load: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"model-ada.plan does not exist: build it, docker/build_plans.py"):
        load(cc_model_filenames={"7.5": "model.plan", "8.9": "model-ada.plan"})


def test_a_plan_of_another_release_says_what_to_do(load: Callable[..., Any], tmp_path: Path) -> None:
    note = {"machine": {"tensorrt": "110100", "gpu": "Tesla T4"}}
    (tmp_path / "1" / "plan.json").write_text(json.dumps(note))

    with pytest.raises(ValueError, match="unable to create TensorRT engine") as refusal:
        load({"version": "11.1.0.106"})

    text = str(refusal.value)
    assert "Version tag does not match. It was built by TensorRT 110100 for Tesla T4. This process has" in text
    assert "TensorRT 10.14.1.48 and NVIDIA L4: build it on this machine, with this Python: docker/build_pl" in text


def test_a_plan_of_another_gpu_that_loads_is_served_with_tensorrts_warning(load: Callable[..., Any]) -> None:
    check(ask(load({"gpu": "NVIDIA L40S"}), images(1)), images(1))

    assert warnings == ["TensorRT: Using an engine plan file across different models of devices"]


def changed(side: str, **fields: Any) -> dict[str, Any]:
    return {side: [CONFIG[side][0] | fields, *CONFIG[side][1:]]}


def graph_spec(**spec: Any) -> dict[str, Any]:
    return {"optimization": {"cuda": {"graphs": True, "graph_spec": [spec]}}}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"kind": "CPU"}, "TensorRT backend supports only GPU device", id="kind"),
        pytest.param({"sequence_batching": {"max": 1}}, "sequence_batching is not served", id="sequences"),
        pytest.param(changed("input", allow_ragged_batch=True), "allow_ragged_batch is not served", id="ragged"),
        pytest.param(changed("input", name="image"), "unexpected inference input 'image', allowed inputs", id="name"),
        pytest.param(changed("output", name="out"), "unexpected inference output 'out', allowed outputs", id="output"),
        pytest.param({"output": CONFIG["output"][:1]}, "expected configuration for output 'output0'", id="too-few"),
        pytest.param({"input": CONFIG["input"] * 2}, "expects 2 inputs, model provides at most 1", id="too-many"),
        pytest.param(changed("input", data_type="TYPE_FP16"), "unexpected datatype TYPE_FP32 for inference", id="type"),
        pytest.param(changed("input", dims=[3, 9, 8]), "the plan has [-1, 3, 8, 8] and the configuration", id="dims"),
        pytest.param({"facts": {"format": "CHW32"}}, "has the non-linear format CHW32", id="format"),
        pytest.param({"instance_group": [{"name": "net_0", "profile": ["1"]}]}, "index range 0-0", id="profile"),
        pytest.param(
            {"instance_group": [{"name": "net_0", "profile": ["p"]}]}, "profile 'p' of the", id="profile-name"
        ),
        pytest.param({"instance_group": [{"name": "net_0", "secondary_devices": [{}]}]}, "DLA cores", id="dla"),
        pytest.param(graph_spec(batch_size=5), "'batch_size' to be >= 1 and <= 4, got 5", id="graph-size"),
        pytest.param(graph_spec(batch_size=2, graph_lower_bound={"batch_size": 3}), "lower bound spec", id="bound"),
        pytest.param(graph_spec(batch_size=1, input={"images": {"dim": ["1"]}}), "has the dims [1]", id="graph-dims"),
        pytest.param(
            {"parameters": {"execution_context_allocation_strategy": {"string_value": "ANY"}}},
            "is 'ANY', expected STATIC or ON_PROFILE_CHANGE",
            id="strategy",
        ),
    ],
)
def test_what_triton_or_this_backend_can_not_serve_is_refused(
    load: Callable[..., Any], fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        load(**fields)


@pytest.mark.parametrize(("package", "advice"), [("tensorrt", "pip install tensorrt"), ("cupy", "make setup-gpu")])
def test_without_a_package_the_refusal_says_what_to_install(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, package: str, advice: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ValueError, match=advice):
        load()
