# SPDX-License-Identifier: Apache-2.0
"""Building TensorRT plans, with programs in place of trtexec and nvidia-smi: no machine of ours has a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plan_programs import CONFIG, NVIDIA_SMI, PLAN, TRTEXEC, Machine
from yolov8_export.checks.model import plan_findings
from yolov8_export.config.files import read_config


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, {"trtexec": TRTEXEC, "nvidia-smi": NVIDIA_SMI}, PLAN=PLAN.decode())


def test_a_plan_is_built_with_one_profile_for_all_batch_sizes(built: Machine) -> None:
    said = built.log.read_text().splitlines()

    assert built.plan.read_bytes() == PLAN
    assert [line for line in said if "Shapes=" in line] == [
        "--minShapes=images:1x640x640x3",
        "--optShapes=images:8x640x640x3",
        "--maxShapes=images:8x640x640x3",
    ]
    assert not any(line.startswith("--profile") for line in said)
    # Without them, TensorRT 10 refuses FP16 and INT8 graphs, and every release rounds FP32 to TF32.
    assert {"--stronglyTyped", "--noTF32"} <= set(said)
    assert "order PCI_BUS_ID" in said
    assert f"--timingCacheFile={built.repository / 'timing.cache'}" in said


def change(machine: Machine, before: str, after: str) -> None:
    config = machine.version.parent / "config.pbtxt"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after, 1))


def test_a_release_without_the_flag_is_called_without_it(machine: Machine) -> None:
    assert machine.run(OPTIONS="--onnx").returncode == 0
    assert "--stronglyTyped" not in machine.log.read_text()


@pytest.mark.slow
def test_tf32_is_for_those_who_ask_for_it_and_needs_another_plan(built: Machine) -> None:
    change(
        built, "parameters {", 'parameters {\n  key: "tf32"\n  value {\n    string_value: "true"\n  }\n}\nparameters {'
    )
    built.log.unlink()

    refused = built.run("--check")
    assert "was built with tf32 False, the configuration has True" in refused.stderr
    assert built.run().returncode == 0
    assert "--noTF32" not in built.log.read_text()
    assert built.run("--check").returncode == 0


def test_a_plan_of_two_profiles_serves_single_images_and_batches(machine: Machine) -> None:
    change(machine, "  kind: KIND_GPU", '  kind: KIND_GPU\n  profile: ["0", "1"]')

    assert machine.run().returncode == 0
    said = [line for line in machine.log.read_text().splitlines() if "Shapes=" in line or "--profile" in line]
    assert said == [
        "--profile=0",
        *(f"--{name}Shapes=images:1x640x640x3" for name in ("min", "opt", "max")),
        "--profile=1",
        "--minShapes=images:2x640x640x3",
        "--optShapes=images:8x640x640x3",
        "--maxShapes=images:8x640x640x3",
    ]
    assert machine.run("--force", OPTIONS="--onnx").stderr.endswith("export without --batch-profiles\n")


@pytest.mark.slow
def test_an_unknown_header_is_a_warning_where_trtexec_succeeded(machine: Machine) -> None:
    done = machine.run(PLAN="new! and the rest")

    assert done.returncode == 0
    assert f"warning: {machine.plan}: starts with b'new!', which is new to this program" in done.stderr
    assert machine.run("--check").returncode == 0
    machine.plan.write_bytes(b"old! and the rest")
    assert "is not a TensorRT plan" in machine.run("--check").stderr


def test_the_note_says_what_the_plan_was_built_for(built: Machine) -> None:
    note = json.loads((built.version / "plan.json").read_text())

    assert note["machine"] == {
        "gpu": "NVIDIA L4",
        "compute_capability": "8.9",
        "driver": "580.95.05",
        "tensorrt": "110400",
    }
    assert note["max_batch_size"] == 8
    assert len(note["onnx_sha256"]) == 64


@pytest.mark.slow
def test_what_fits_is_not_built_again(built: Machine) -> None:
    before = built.log.read_text()

    assert built.run().returncode == 0
    assert built.run("--check").returncode == 0
    assert built.log.read_text() == before


def test_another_gpu_is_one_clear_line(built: Machine) -> None:
    done = built.run("--check", GPU="Tesla T4")

    assert done.returncode == 1
    assert done.stderr.splitlines() == built.refusal("gpu NVIDIA L4, this machine has Tesla T4")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("model.plan", b"\x10\0\0\0{json", "is not a TensorRT plan, it starts with", id="no-plan"),
        pytest.param("model.onnx", b"another", "was built from another model.onnx", id="other-network"),
        pytest.param("plan.json", b"{}", "is missing or malformed", id="no-note"),
    ],
)
def test_what_does_not_fit_is_told_and_built_anew(built: Machine, name: str, content: bytes, reason: str) -> None:
    (built.version / name).write_bytes(content)

    refused = built.run("--check")
    rebuilt = built.run()

    assert refused.returncode == 1
    assert reason in refused.stderr
    assert rebuilt.returncode == 0
    assert built.run("--check").returncode == 0


def test_an_engine_of_ultralytics_loses_its_header_and_is_served(machine: Machine) -> None:
    (machine.version / "model.onnx").unlink()
    machine.plan.write_bytes(len(b'{"task": "detect"}').to_bytes(4, "little") + b'{"task": "detect"}' + PLAN)

    done = machine.run()

    assert done.returncode == 0, done.stderr
    assert machine.plan.read_bytes() == PLAN
    assert not machine.log.exists()


def test_a_failed_build_leaves_the_old_plan_and_shows_why(built: Machine) -> None:
    done = built.run("--force", FAILS="3", PLAN="half")

    assert done.returncode == 1
    assert "ended with 3" in done.stderr
    assert built.plan.read_bytes() == PLAN
    assert sorted(path.name for path in built.version.iterdir()) == ["model.onnx", "model.plan", "plan.json"]


def test_a_build_that_writes_no_plan_is_an_error(machine: Machine) -> None:
    done = machine.run(PLAN="")

    assert done.returncode == 1
    assert "ended with 0 but wrote no plan" in done.stderr
    assert not machine.plan.exists()


def test_without_trtexec_it_says_where_to_run(machine: Machine) -> None:
    done = machine.run(PATH="/usr/bin:/bin")

    assert done.returncode == 1
    assert "run this in the Triton image" in done.stderr


def test_a_repository_without_such_a_network_is_refused(machine: Machine) -> None:
    config = machine.version.parent / "config.pbtxt"
    config.write_text(config.read_text().replace('backend: "tensorrt"', 'backend: "onnxruntime"'))

    assert "no model with backend tensorrt" in machine.run().stderr


def add_config(machine: Machine, name: str, max_batch_size: int) -> Path:
    """Add a configuration as export writes it; return its plan's path."""
    configs = machine.version.parent / "configs"
    configs.mkdir(exist_ok=True)
    text = CONFIG.read_text().replace("max_batch_size: 8", f"max_batch_size: {max_batch_size}")
    (configs / f"{name}.pbtxt").write_text(text.replace('"model.plan"', f'"model-{name}.plan"'))
    return machine.version / f"model-{name}.plan"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_plan_of_a_name_is_built_beside_the_others(built: Machine, way: str) -> None:
    plan = add_config(built, "l4", 16)
    before = {path.name: path.read_bytes() for path in built.version.iterdir()}
    built.log.unlink()

    done = built.run("--config-name", "l4") if way == "option" else built.run(CONFIG_NAME="l4")

    assert done.returncode == 0, done.stderr
    assert plan.read_bytes() == PLAN
    assert json.loads((built.version / "plan-l4.json").read_text())["max_batch_size"] == 16
    assert {name: (built.version / name).read_bytes() for name in before} == before
    said = built.log.read_text().splitlines()
    assert "--maxShapes=images:16x640x640x3" in said
    assert f"--timingCacheFile={built.repository / 'timing-l4.cache'}" in said  # timings of one kind of GPU


@pytest.mark.slow
def test_a_plan_of_a_name_is_checked_by_its_own_note(built: Machine) -> None:
    add_config(built, "t4", 8)

    missing = built.run("--check", "--config-name", "t4", GPU="Tesla T4")
    built.run("--config-name", "t4", GPU="Tesla T4")

    assert missing.stderr.strip().endswith(
        f"model-t4.plan: is missing; build it: python3 build_plans.py {built.repository} --config-name t4"
    )
    assert built.run("--check", "--config-name", "t4", GPU="Tesla T4").returncode == 0
    assert built.run("--check").returncode == 0


@pytest.mark.slow
def test_a_machine_of_another_kind_does_not_take_the_plan_away(built: Machine) -> None:
    plan = add_config(built, "l4", 8)
    built.run("--config-name", "l4")
    note = plan.with_name("plan-l4.json").read_text()

    refused = built.run("--config-name", "l4", GPU="Tesla T4")
    kept = plan.with_name("plan-l4.json").read_text()
    forced = built.run("--config-name", "l4", "--force", GPU="Tesla T4")

    assert refused.returncode == 1
    assert "was built for NVIDIA L4, this machine has Tesla T4" in refused.stderr
    assert kept == note
    assert forced.returncode == 0


def add_other_network(machine: Machine) -> Path:
    """Add a network that has no configuration of a name; return its version folder."""
    version = machine.repository / "other_network" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(CONFIG.read_text())
    (version / "model.onnx").write_bytes(b"another network")
    return version


def test_a_network_without_that_name_has_its_plan_from_config_pbtxt(machine: Machine) -> None:
    add_config(machine, "l4", 8)
    other = add_other_network(machine)

    done = machine.run("--config-name", "l4")

    assert done.returncode == 0, done.stderr
    assert (other / "model.plan").is_file()
    assert not machine.plan.exists()


@pytest.mark.slow
def test_kinds_of_gpu_do_not_build_such_a_plan_in_turn(machine: Machine) -> None:
    add_config(machine, "l4", 8)
    add_config(machine, "t4", 8)
    other = add_other_network(machine)
    machine.run("--config-name", "t4", GPU="Tesla T4")
    note = (other / "plan.json").read_text()

    refused = machine.run("--config-name", "l4")
    kept = (other / "plan.json").read_text()
    forced = machine.run("--config-name", "l4", "--force")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: {other / 'model.plan'}: was built for Tesla T4, this machine has NVIDIA L4; add the custom "
        "model configuration to the model (yolov8-export add-config other l4), or use --force if no server has the "
        "other kind any more\n"
    )
    assert kept == note
    assert forced.returncode == 0, forced.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l5", "*", "l?", "../config"])
def test_a_name_that_no_model_has_is_refused(name: str, machine: Machine) -> None:
    add_config(machine, "l4", 8)

    done = machine.run("--config-name", name)

    assert done.returncode == 1
    assert f"no model has a custom model configuration {name!r}" in done.stderr


def test_the_check_of_a_repository_understands_the_notes(machine: Machine) -> None:
    """It is told of a plan that takes smaller batches than its configuration promises, whatever wrote that."""
    plan = add_config(machine, "l4", 4)
    machine.run()
    machine.run("--config-name", "l4")
    path = plan.parents[1] / "configs" / "l4.pbtxt"
    fits = list(plan_findings(path, read_config(path), plan.parents[1]))

    add_config(machine, "l4", 16)

    (finding,) = plan_findings(path, read_config(path), plan.parents[1])
    assert fits == []
    assert (finding.path, finding.problem) == (path, f"max_batch_size is 16, {plan} takes 4")
