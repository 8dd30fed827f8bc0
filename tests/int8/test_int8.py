# SPDX-License-Identifier: Apache-2.0
"""INT8 by the real quantiser, exported as a user would; NNCF and OpenVINO take 0.5 GB, so this has its own verb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnx_ir as ir
import openvino
import pytest

from tests import heads
from tests.data import shapes
from tests.unit.export.graph.test_best_class import passes_on
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.graph.rewrite import keep_candidates, reduce_to_best_class
from yolov8_export.runtime import onnx_runner, openvino_model, openvino_runner
from yolov8_server import TritonServer
from yolov8_triton import Client

CANDIDATES = 60
F32 = {"INFERENCE_PRECISION_HINT": "f32"}
OUT_OF_RANGE = -3000.0
WEIGHTS = Path(__file__).parents[1] / "data" / "shapes-detect.pt"


def scenes(folder: Path, first: int, count: int) -> Path:
    folder.mkdir()
    for seed in range(first, first + count):
        cv2.imwrite(str(folder / f"{seed}.png"), shapes.scene(seed, "detect").image)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Scenes to calibrate with, and others to judge by."""
    base = tmp_path_factory.mktemp("scenes")
    return scenes(base / "seen", 60_000, 24), scenes(base / "unseen", 70_000, 40)


def export(
    repository: Path, name: str, folders: tuple[Path, Path], *options: str, weights: Path = WEIGHTS
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolov8_export", "export", str(weights), "--name", name, "--json"]
    for option, value in (("--network-input", "fp32"), ("--network-output", "raw")):  # as what is compared here has
        options += () if option in options else (option, value)
    command += ["--repository", str(repository), "--calibration", str(folders[0]), "--evaluation", str(folders[1])]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def truth(folders: tuple[Path, Path]) -> Path:
    """Annotations of the scenes to judge by."""
    numbers = {path.name: int(path.stem) for path in folders[1].iterdir()}
    annotations: list[dict[str, Any]] = []
    for number in numbers.values():
        for shape in shapes.scene(number, "detect").shapes:
            low, high = shape.polygon.min(axis=0), shape.polygon.max(axis=0)
            box = {"bbox": [*low.tolist(), *(high - low).tolist()], "category_id": shape.class_id}
            annotations.append(box | {"image_id": number, "id": len(annotations) + 1})
    file = folders[1].parent / "truth.json"
    file.write_text(json.dumps({
        "images": [{"id": number, "file_name": name} for name, number in numbers.items()],
        "categories": [{"id": index, "name": name} for index, name in enumerate(shapes.LABELS)],
        "annotations": annotations,
    }))  # fmt: skip
    return file


def with_layer_that_int8_ruins(weights: Path, file: Path) -> str:
    """Write the network with a layer whose inputs are moved so far that steps of INT8 are too coarse for them.

    The layer's bias takes the move back, so FP32 computes the same but for its rounding. Return the layer's name.
    """
    network = ir.load(weights)
    convolutions = [node for node in network.graph if node.op_type == "Conv"]
    pointwise = [node for node in convolutions if list(node.attributes["kernel_shape"].as_ints()) == [1, 1]]
    layer = pointwise[len(pointwise) // 2]
    moved, kernel, bias = (ir.convenience.get_const_tensor(value) for value in layer.inputs)
    assert moved is None
    assert kernel is not None
    assert bias is not None
    back = bias.numpy() - OUT_OF_RANGE * kernel.numpy().sum(axis=(1, 2, 3))
    values = {"far": np.array(OUT_OF_RANGE, np.float32), "back": back.astype(np.float32)}
    made = {name: ir.Value(name=name, const_value=ir.tensor(value, name=name)) for name, value in values.items()}
    for value in made.values():
        network.graph.register_initializer(value)
    move = ir.node("Add", [layer.inputs[0], made["far"]], name="move")
    network.graph.insert_before(layer, move)
    layer.replace_input_with(0, move.outputs[0])
    layer.replace_input_with(2, made["back"])
    ir.save(network, file)
    return layer.name or ""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("int8") / "repository"


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "tensorrt"])
def test_a_network_of_shapes_keeps_finding_them_in_int8(
    repository: Path, folders: tuple[Path, Path], engine: str
) -> None:
    options = ["--profile", "gpu"] if engine == "tensorrt" else ["--network", engine]

    done = export(repository, engine, folders, "--precision", "int8", *options)

    assert done.returncode == 0, done.stderr
    accuracy: dict[str, Any] = json.loads(done.stdout)["accuracy"]
    print(engine, accuracy)
    assert accuracy["matched"] >= 0.9
    assert accuracy["engine"] == ("openvino" if engine == "openvino" else "onnxruntime")
    assert check(repository).findings == ()
    manifest = json.loads((repository / f"{engine}_network" / "1" / "manifest.json").read_text())
    assert manifest["network"]["precision"] == "int8"
    assert manifest["accuracy"] == accuracy


def test_bf16_keeps_the_file_and_is_judged_as_it_will_be_computed(repository: Path, folders: tuple[Path, Path]) -> None:
    done = export(repository, "bf16", folders, "--network", "openvino", "--precision", "bf16")

    assert done.returncode == 0, done.stderr
    accuracy: dict[str, Any] = json.loads(done.stdout)["accuracy"]
    assert accuracy["engine"] == "openvino"
    assert accuracy["matched"] >= 0.9
    assert accuracy["score_shift"] > 1e-5  # FP32 would move them by less
    assert check(repository).findings == ()
    manifest = json.loads((repository / "bf16_network" / "1" / "manifest.json").read_text())
    assert manifest["network"]["precision"] == "bf16"


def test_no_value_is_rounded_within_a_silu(repository: Path) -> None:
    """OpenVINO would compute such a SiLU apart from its convolution, in FP32; the other engines' graphs are ONNX."""
    network = openvino.Core().read_model(repository / "openvino_network" / "1" / "model.xml")
    rounded = [node for node in network.get_ops() if node.get_type_name() == "FakeQuantize"]
    silus = [node for node in network.get_ops() if node.get_type_name() == "Swish"]
    sigmoids = [node for node in network.get_ops() if node.get_type_name() == "Sigmoid"]

    assert len(silus) > 50
    assert len(sigmoids) == 1  # the scores
    assert rounded
    assert not [silu for silu in silus if silu.input_value(0).get_node() in rounded]


@pytest.mark.parametrize("turned", [False, True])
def test_a_silu_is_found_in_whichever_order_its_factors_come(turned: bool) -> None:
    text = "Sigmoid (x) y = Mul (s, x)" if turned else "Sigmoid (x) y = Mul (x, s)"
    network = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 17]>
        silu (float[2, 3] x) => (float[2, 3] y) {{ s = {text} }}""")

    model = openvino_model(ir.from_proto(network))

    assert sorted(node.get_type_name() for node in model.get_ops()) == ["Constant", "Parameter", "Result", "Swish"]


def test_sigmoids_of_other_values_are_no_silus() -> None:
    network = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        gate (float[2, 3] x, float[2, 3] z) => (float[2, 3] y) { s = Sigmoid (x) y = Mul (z, s) }""")

    model = openvino_model(ir.from_proto(network))

    assert "Swish" not in [node.get_type_name() for node in model.get_ops()]


def test_the_quantiser_sends_no_statistics() -> None:
    ask = "from yolov8_export.precision import quantize; quantize._import_nncf(); from nncf import telemetry"
    ask += "; print(type(telemetry.telemetry).__name__)"

    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["MagicMock"]


def test_tensorrts_network_has_no_zero_points(repository: Path) -> None:
    file = onnx.load(repository / "tensorrt_network" / "1" / "model.onnx")
    points = {node.input[2] for node in file.graph.node if node.op_type == "QuantizeLinear"}
    values = [onnx.numpy_helper.to_array(w) for w in file.graph.initializer if w.name in points]

    assert values
    assert all(value.dtype == "int8" and not value.any() for value in values)


@pytest.mark.parametrize("output", ["raw", "best-class", "candidates"])
@pytest.mark.parametrize("pixels", ["fp32", "uint8"])
def test_openvinos_network_gets_the_input_and_output_that_were_asked_for(
    output: str, pixels: str, repository: Path, folders: tuple[Path, Path]
) -> None:
    name = f"openvino_{output.replace('-', '_')}_{pixels}"
    options = ["--network", "openvino", "--precision", "int8", "--network-input", pixels, "--network-output", output]
    options += ["--max-candidates", str(CANDIDATES)] if output == "candidates" else []

    done = export(repository, name, folders, *options)

    assert done.returncode == 0, done.stderr
    assert check(repository).findings == ()
    image = shapes.scene(80_000, "detect", size=(160, 160)).image
    given = np.ascontiguousarray(image[np.newaxis, ..., ::-1])
    planes = given.transpose(0, 3, 1, 2).astype(np.float32) / 255
    core = openvino.Core()
    found, raw = (
        core.compile_model(repository / f"{model}_network" / "1" / "model.xml", "CPU", F32)(images)["output0"]
        for model, images in ((name, given if pixels == "uint8" else planes), ("openvino", planes))
    )
    served = ServedModel(task=Task.DETECT, labels=shapes.LABELS, imgsz=(160, 160))
    expected = {
        "raw": lambda: raw,
        "best-class": lambda: heads.best_class(served, [raw[0]])[0],
        "candidates": lambda: heads.candidates(served, [raw[0]], CANDIDATES)[0],
    }[output]()
    np.testing.assert_array_equal(np.squeeze(found), np.squeeze(expected))


@pytest.mark.parametrize("output", ["best-class", "candidates"])
def test_less_is_output_behind_what_is_quantised(output: str, repository: Path, folders: tuple[Path, Path]) -> None:
    options = ["--precision", "int8", "--network", "onnxruntime", "--network-output", output]
    options += ["--max-candidates", str(CANDIDATES)] if output == "candidates" else []

    done = export(repository, output, folders, *options)

    assert done.returncode == 0, done.stderr
    image = shapes.scene(80_000, "detect", size=(160, 160)).image
    images = image[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255
    (raw,), (reduced,) = (
        onnx_runner(ir.load(repository / f"{name}_network" / "1" / "model.onnx"), called=name)(images)
        for name in ("onnxruntime", output)
    )
    served = ServedModel(task=Task.DETECT, labels=shapes.LABELS, imgsz=(160, 160))
    best, few = heads.best_class(served, [raw[0]]), heads.candidates(served, [raw[0]], CANDIDATES)
    assert np.array_equal(reduced[0], (best if output == "best-class" else few)[0])


@pytest.mark.parametrize("seed", range(6))
def test_openvino_selects_the_same_candidates_but_for_ties_at_the_border(seed: int) -> None:
    """Anchors that tie with the lowest score are never in an answer: a request that tells them apart is refused."""
    rng = np.random.default_rng(seed)
    head = (rng.random((1, 4 + 5, 525), np.float32) ** 6).round(seed)
    head[0, rng.integers(4, 9, 20), rng.integers(0, 525, 20)] = np.nan
    network = keep_candidates(reduce_to_best_class(passes_on(5, 0, 525), 5), CANDIDATES)

    (found,) = openvino_runner(openvino_model(network))(head)

    (expected,) = onnx_runner(network, called="candidates")(head)
    scores = [output[0, 4] for output in (found, expected)]
    assert np.nanmin(scores[0]) == np.nanmin(scores[1])
    above = [output[0][:, output[0, 4] > np.nanmin(output[0, 4])] for output in (found, expected)]
    np.testing.assert_array_equal(*above)


def test_what_is_exported_is_served_and_finds_shapes(repository: Path) -> None:
    image = cv2.imencode(".png", shapes.scene(80_000, "detect").image)[1].tobytes()
    served = repository.parent / "served"
    served.mkdir()
    names = ("onnxruntime", "openvino", "openvino_best_class_uint8", "bf16")
    for folder in [f"{name}{member}" for name in names for member in ("", "_preprocess", "_network", "_postprocess")]:
        (repository / folder).rename(served / folder)

    with TritonServer(served) as server:
        for name in names:
            with Client(server.grpc_url, model=name, timeout_s=60) as client:
                assert len(client.detect(image)) > 0, name


def test_one_that_loses_too_much_is_not_placed(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    done = export(tmp_path / "repository", "bad", folders, "--precision", "int8", "--min-matched", "1.01")

    assert done.returncode == 1
    assert "loses too much" in done.stderr
    assert not (tmp_path / "repository").exists()


def test_images_in_both_folders_are_refused(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    done = export(tmp_path / "repository", "same", (folders[0], folders[0]), "--precision", "int8")

    assert done.returncode == 2
    assert "are in --calibration" in done.stderr


@pytest.fixture(scope="module")
def ruined(tmp_path_factory: pytest.TempPathFactory, folders: tuple[Path, Path]) -> tuple[Path, str]:
    """An ONNX network with a layer that INT8 ruins, and the layer's name."""
    folder = tmp_path_factory.mktemp("ruined")
    done = export(folder / "repository", "fp32", folders, "--precision", "fp32")
    assert done.returncode == 0, done.stderr
    file = folder / "ruined.onnx"
    return file, with_layer_that_int8_ruins(folder / "repository" / "fp32_network" / "1" / "model.onnx", file)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "tensorrt"])
def test_the_layer_that_int8_ruins_stays_in_fp32_so_that_the_share_is_kept(
    tmp_path: Path, folders: tuple[Path, Path], truth: Path, ruined: tuple[Path, str], engine: str
) -> None:
    weights, layer = ruined
    options = ["--profile", "gpu"] if engine == "tensorrt" else ["--network", engine]
    options += ["--precision", "int8", "--truth", str(truth), "--keep-map", "0.97"]

    done = export(tmp_path / "repository", "kept", folders, *options, weights=weights)

    assert done.returncode == 0, done.stderr
    accuracy: dict[str, Any] = json.loads(done.stdout)["accuracy"]
    print(engine, accuracy)
    assert accuracy["share_kept"] >= 0.97
    selection = accuracy["selection"]
    assert layer in selection["fp32_layers"]
    assert len(selection["fp32_layers"]) <= 4
    assert 0.5 <= selection["int8_multiplications"] < 1
    manifest = json.loads((tmp_path / "repository" / "kept_network" / "1" / "manifest.json").read_text())
    assert manifest["accuracy"] == accuracy
    assert check(tmp_path / "repository").findings == ()


def test_the_share_of_a_detector_needs_annotations(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    done = export(tmp_path / "repository", "kept", folders, "--precision", "int8", "--keep-map", "0.99")

    assert done.returncode == 2
    assert "needs --truth FILE" in done.stderr


def test_copies_of_calibration_images_are_no_evaluation(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for index, path in enumerate(folders[0].iterdir()):
        (copies / f"other{index}.png").write_bytes(path.read_bytes())

    done = export(tmp_path / "repository", "same", (folders[0], copies), "--precision", "int8")

    assert done.returncode == 2
    assert "are in --calibration" in done.stderr
