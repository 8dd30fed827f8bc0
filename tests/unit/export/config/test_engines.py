# SPDX-License-Identifier: Apache-2.0
"""What an engine, a device and a preprocess member make of the configurations."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tritonclient.grpc import model_config_pb2 as pb

from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import IMGSZ
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.choices import Profile
from yolov8_export.config.deployment import RANGES, Deployment, deployment_from, parse_gpus
from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.config.reference import committed_labels, reference_configs
from yolov8_export.config.serving import compose_env, serving_commands
from yolov8_export.errors import OptionError
from yolov8_export.pipeline import default_name
from yolov8_export.repository.layout import Target

ROOT = Path(__file__).parents[4]
GPU = pb.ModelInstanceGroup.KIND_GPU
KEEP_ON_GPU = "FORCE_CPU_ONLY_INPUT_TENSORS"


def network(export_tiny: Export, **choices: Any) -> pb.ModelConfig:
    profile = choices.pop("profile", "cpu")
    return export_tiny(deployment=deployment_from(profile, **choices)).configs["tiny_network"]


@pytest.mark.slow
@pytest.mark.parametrize("task", list(Task), ids=lambda task: task.value)
def test_the_gpu_profile_serves_every_task(export_tiny: Export, repository: Path, task: Task) -> None:
    report = export_tiny(task, deployment=deployment_from("gpu"))

    roles = ["check", "preprocess", "network"] + ["postprocess"] * (task is not Task.CLASSIFY)
    assert list(report.configs) == [*(f"tiny_{role}" for role in roles), "tiny"]
    assert check(repository).findings == ()


def test_several_gpus_are_named_on_every_member_that_runs_there(export_tiny: Export) -> None:
    configs = export_tiny(deployment=deployment_from("gpu", gpus=(0, 2), instances=2)).configs

    for role, count in {"preprocess": 1, "network": 2}.items():
        (group,) = configs[f"tiny_{role}"].instance_group
        assert (group.kind, list(group.gpus), group.count) == (GPU, [0, 2], count)


def test_cuda_graphs_are_recorded_for_each_batch_size(export_tiny: Export) -> None:
    cuda = network(export_tiny, profile="gpu", cuda_graphs=True, max_batch_size=6).optimization.cuda

    assert cuda.graphs
    assert [spec.batch_size for spec in cuda.graph_spec] == [1, 2, 3, 4, 5, 6]
    assert list(cuda.graph_spec[0].input["images"].dim) == [*IMGSZ, 3]


@pytest.mark.slow
def test_the_networks_input_stays_on_the_gpu_and_no_other_models(export_tiny: Export) -> None:
    """The embedded server would copy the images to the host and back; check and postprocess read them with numpy."""
    for engine in ("tensorrt", "onnxruntime"):
        configs = export_tiny(deployment=deployment_from("gpu", engine=engine)).configs
        kept = {name: config.parameters[KEEP_ON_GPU].string_value for name, config in configs.items()
                if KEEP_ON_GPU in config.parameters}  # fmt: skip
        assert kept == {"tiny_network": "no"}, engine
    assert KEEP_ON_GPU not in network(export_tiny).parameters


@pytest.mark.slow
def test_tf32_is_chosen_and_not_the_default(export_tiny: Export) -> None:
    plain, rounded = (network(export_tiny, profile="gpu", tf32=tf32) for tf32 in (False, True))
    provider = network(export_tiny, profile="gpu", engine="onnxruntime", tf32=True)

    assert "tf32" not in plain.parameters
    assert rounded.parameters["tf32"].string_value == "true"
    (accelerator,) = provider.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["use_tf32"] == "1"


@pytest.mark.slow
def test_a_plan_of_two_profiles_is_read_with_both(export_tiny: Export) -> None:
    assert list(network(export_tiny, profile="gpu").instance_group[0].profile) == []
    assert list(network(export_tiny, profile="gpu", batch_profiles=True).instance_group[0].profile) == ["0", "1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choices", "first"),
    [
        ({"profile": "gpu"}, ["Cast", "Transpose", "Div"]),
        ({"profile": "gpu", "engine": "onnxruntime", "accelerator": "tensorrt"}, ["Cast", "Transpose", "Div"]),
        ({"profile": "gpu", "engine": "onnxruntime"}, ["Transpose", "Cast", "Div"]),
        ({"profile": "cpu", "network_input": "uint8"}, ["Transpose", "Cast", "Div"]),
    ],
    ids=["plan", "tensorrt-provider", "cuda-provider", "cpu"],
)
def test_tensorrt_casts_uint8_pixels_before_anything_else(
    choices: dict[str, Any], first: list[str], export_tiny: Export, repository: Path
) -> None:
    """TensorRT takes an input of UINT8 only if a Cast reads it, and nothing else does."""
    network(export_tiny, **choices)
    graph = onnx.load(repository / "tiny_network" / "1" / "model.onnx").graph

    value, kinds = "images", []
    for _ in first:
        (reader,) = [node for node in graph.node if value in node.input]
        kinds.append(reader.op_type)
        (value,) = reader.output
    assert kinds == first


@pytest.mark.slow
def test_both_orders_of_cast_and_transpose_give_the_same_bits(export_tiny: Export, repository: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, *IMGSZ, 3), np.uint8)
    answers = []
    for profile in ("cpu", "gpu"):
        network(export_tiny, profile=profile, network_input="uint8", network_output="raw")
        session = ort.InferenceSession(repository / "tiny_network" / "1" / "model.onnx")
        answers.append(session.run(None, {"images": pixels})[0])

    assert np.array_equal(*answers)


def test_a_limit_of_requests_in_flight_is_the_ensembles(export_tiny: Export, repository: Path) -> None:
    report = export_tiny(deployment=deployment_from("gpu", max_inflight=40))

    assert read_config(repository / "tiny" / CONFIG).ensemble_scheduling.max_inflight_requests == 40
    assert any("needs Triton 25.11" in note for note in report.notes)


def test_onnx_runtime_on_a_gpu_is_told_how_to_choose_its_kernels(export_tiny: Export) -> None:
    config = network(export_tiny, profile="gpu", engine="onnxruntime")

    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == ("cuda", {"use_tf32": "0"})
    # The backend overwrites the accelerator's option of this name by its own parameter.
    assert config.parameters["cudnn_conv_algo_search"].string_value == "1"
    assert config.default_model_filename == "model.onnx"


def test_tensorrt_inside_onnx_runtime_builds_one_engine_for_all_batch_sizes(export_tiny: Export) -> None:
    config = network(export_tiny, profile="gpu", engine="onnxruntime", accelerator="tensorrt")

    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    shape = f"{IMGSZ[0]}x{IMGSZ[1]}x3"
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["trt_profile_min_shapes"] == f"images:1x{shape}"
    assert accelerator.parameters["trt_profile_max_shapes"] == f"images:8x{shape}"
    assert accelerator.parameters["trt_engine_cache_enable"] == "true"


def test_openvino_gets_batches_of_one_and_a_stream_for_each_instance(export_tiny: Export) -> None:
    """The backend refuses any batch but that of max_batch_size."""
    config = network(export_tiny, engine="openvino", instances=3, threads=2)

    assert config.max_batch_size == 1
    assert config.parameters["NUM_STREAMS"].string_value == "3"
    assert config.parameters["INFERENCE_NUM_THREADS"].string_value == "6"
    assert config.default_model_filename == "model.onnx"


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        pytest.param({"engine": "tensorrt"}, "runs only on a GPU", id="tensorrt-on-cpu"),
        pytest.param({"engine": "openvino", "device": "gpu"}, "runs only on a CPU", id="openvino-on-gpu"),
        pytest.param({"preprocess": "dali"}, "decodes on a GPU", id="dali-on-cpu"),
        pytest.param({"gpus": (0,)}, "the network runs on the CPU", id="gpus-on-cpu"),
        pytest.param({"precision": "bf16"}, "add --network openvino", id="bf16-elsewhere"),
        pytest.param({"engine": "tensorflow", "precision": "bf16"}, "add --network openvino", id="bf16-of-tensorflow"),
        pytest.param({"cuda_graphs": True}, "only with --network tensorrt", id="graphs-elsewhere"),
        pytest.param(
            {"max_candidates": 500}, "--max-candidates 500 has an effect only with", id="count-without-candidates"
        ),
        pytest.param(
            {"network_output": "candidates", "max_candidates": 3841},
            "--max-candidates: expected at most 3840, got 3841",
            id="more-than-tensorrt-sorts",
        ),
        pytest.param(
            {"preprocess": "dali", "device": "gpu", "max_slices": 8}, "DALI cuts no images", id="slices-with-dali"
        ),
        pytest.param(
            {"engine": "tensorrt", "device": "gpu", "cuda_graphs": True, "max_batch_size": 65},
            "at most 64: lower --max-batch-size",
            id="too-many-graphs",
        ),
        pytest.param({"batch_profiles": True}, "only with --network tensorrt", id="profiles-elsewhere"),
        pytest.param(
            {"engine": "tensorrt", "device": "gpu", "batch_profiles": True, "max_batch_size": 1},
            "there are no batches",
            id="profiles-without-batches",
        ),
        pytest.param({"tf32": True}, "--tf32: the network runs on the CPU", id="tf32-on-cpu"),
        pytest.param(
            {"tf32": True, "device": "gpu", "accelerator": "tensorrt"}, "use --network tensorrt", id="tf32-in-ort-trt"
        ),
        pytest.param({"preprocess_instances": 1}, "the first composing model needs 2", id="one-first-instance"),
        pytest.param({"check_instances": 1}, "--check-instances: expected at least 2", id="one-check"),
        pytest.param({"hw_decoder_load": 1.5}, "--hw-decoder-load: expected at most 1", id="more-than-all"),
        pytest.param({"max_slices": 5000}, "--max-slices: expected at most 4096", id="too-many-slices"),
    ],
)
def test_choices_that_exclude_each_other_are_refused(choices: dict[str, Any], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        Deployment(**choices)


@pytest.mark.parametrize(
    ("deployment", "reason"),
    [
        (deployment_from("cpu", check_instances=5), "--check-instances has an effect only with --preprocess dali"),
        (deployment_from("cpu", decode_threads=2), "--decode-threads has an effect only with --preprocess dali"),
        (deployment_from("gpu", preprocess="opencv", hw_decoder_load=0.5), "--hw-decoder-load has an effect only"),
        (deployment_from("gpu", threads=4), "network on the CPU: leave it out; DALI's are --decode-threads"),
        (
            deployment_from("gpu", preprocess="opencv", threads=4),
            "--threads has an effect only on a network on the CPU",
        ),
    ],
    ids=["check", "decoder", "hardware", "threads-with-dali", "threads"],
)
def test_a_setting_that_would_do_nothing_is_refused(
    deployment: Deployment, reason: str, export_tiny: Export, repository: Path
) -> None:
    with pytest.raises(OptionError, match=reason):
        export_tiny(deployment=deployment)

    assert not repository.exists()


def test_a_name_that_dali_cannot_load_is_refused_with_one_that_it_can(export_tiny: Export, repository: Path) -> None:
    with pytest.raises(OptionError, match="say --name yolov8n_seg"):
        export_tiny(name="yolov8n-seg", deployment=deployment_from("gpu"))

    assert not repository.exists()


def test_the_default_name_is_one_that_can_be_loaded() -> None:
    assert default_name(Path("yolov8n-seg.pt"), deployment_from("gpu")) == "yolov8n_seg"
    assert default_name(Path("yolov8n-seg.pt"), deployment_from("cpu")) == "yolov8n-seg"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        *(pytest.param({name: 10**30}, f"--{name.replace('_', '-')}: expected at most", id=name) for name in RANGES),
        pytest.param({"queue_timeout_s": 1e300}, "--queue-timeout-s: expected at most", id="queue_timeout_s-float"),
        pytest.param({"gpus": (0, 10**30), "device": "gpu"}, "--gpus: expected at most", id="gpus"),
        pytest.param({"limits": ImageLimits(max_pixels=10**30)}, "--max-pixels: expected at most", id="max_pixels"),
        pytest.param({"limits": ImageLimits(max_bytes=10**30)}, "--max-bytes: expected at most", id="max_bytes"),
    ],
)
def test_numbers_that_a_configuration_has_no_room_for_are_refused(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        Deployment(**setting)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("version", [0, -1, 10**30])
def test_a_version_that_triton_has_no_number_for_is_refused(version: int) -> None:
    with pytest.raises(OptionError, match="--version: expected 1 to"):
        Target(repository=Path("repository"), name="m", version=version)


@pytest.mark.parametrize("folder", ["a:b", "a:b,c", 'a:b "c"', "a b:c'd"])
def test_a_folder_with_a_colon_is_mounted_too(folder: str, tmp_path: Path) -> None:
    commands = serving_commands(tmp_path / folder, {}, Deployment())

    words = shlex.split(commands["container"])
    (options,) = csv.reader([words[words.index("--mount") + 1]])
    assert options == ["type=bind", f"source={tmp_path / folder}", "target=/models", "readonly"]
    assert "-v" not in words


def test_a_folder_that_looks_like_an_option_is_not_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert serving_commands(Path("-r"), {}, Deployment())["embedded"].endswith(" ./-r")


@pytest.mark.parametrize("text", ["", "a", "-1", "0,,1"])
def test_numbers_of_gpus_are_read_or_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--gpus: expected numbers such as 0,1"):
        parse_gpus(text)
    assert parse_gpus("0, 2,0") == (0, 2)


def test_the_commands_say_how_plans_are_built_and_what_is_served(export_tiny: Export) -> None:
    commands = export_tiny(deployment=deployment_from("gpu", gpus=(1,))).commands

    assert "embedded" not in commands
    assert "build_plans.py /models" in commands["plans"]
    assert "--gpus all" in commands["container"]  # those that it is given count from 0 in a container
    assert "--shm-size=" in commands["container"]


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_container_is_restricted_and_open_to_this_machine_alone(profile: Profile, export_tiny: Export) -> None:
    container = shlex.split(export_tiny(deployment=deployment_from(profile)).commands["container"])

    ports = [container[index + 1] for index, word in enumerate(container) if word == "-p"]
    assert ports == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)]
    assert container[-1] == f"yolov8-triton:{profile}"  # without a command, so that the image runs serve.sh
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert 'CMD ["/opt/yolov8-triton/serve.sh"]' in dockerfile
    assert f" AS {profile}\n" in dockerfile
    (mounted,) = (container[index + 1] for index, word in enumerate(container) if word == "-v")
    assert mounted.endswith(":/models:ro")


def test_readme_says_the_lines_that_the_export_prints() -> None:
    configs = reference_configs(committed_labels(ROOT / "model_repository"))
    commands = serving_commands(ROOT / "build" / "nothing", configs, deployment_from("cpu"))
    readme = (ROOT / "README.md").read_text()

    assert commands["image"] in readme
    container = commands["container"].replace(str(ROOT / "build" / "nothing"), "$PWD/build/repository")
    assert container in readme
    assert readme.count("docker run") == 1


@pytest.mark.slow
def test_models_of_another_origin_do_not_change_the_sizes(export_tiny: Export, repository: Path) -> None:
    export_tiny(name="one")
    (repository / "other").mkdir()
    (repository / "other" / "config.pbtxt").write_text(
        'platform: "ensemble" ensemble_scheduling { step { model_name: "other_network" model_version: -1 } }'
    )

    one, two = compose_env(repository), export_tiny(name="two").commands["container"]

    (size,) = (int(line[16:-1]) for line in one.splitlines() if line.startswith("TRITON_SHM_SIZE="))
    assert f"--shm-size={2 * size}m" in two


@pytest.mark.slow
def test_pools_grow_with_the_batches_that_are_handed_on(export_tiny: Export) -> None:
    """Triton's defaults are 64 MB on each GPU and 256 MB of pinned memory."""
    deployments = [deployment_from("gpu", max_batch_size=size, gpus=(0, 1)) for size in (1, 64)]

    small, large = (export_tiny(deployment=deployment).commands["container"] for deployment in deployments)

    assert "pool-byte-size" not in small
    for option in ("--cuda-memory-pool-byte-size=0:", "--cuda-memory-pool-byte-size=1:", "--pinned-memory-pool-"):
        assert option in large
