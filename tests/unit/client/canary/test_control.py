# SPDX-License-Identifier: Apache-2.0
"""Models are exchanged by their configurations, on all servers or on none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import CliRunner
from tests.fakes.answers import arrays, model
from tests.fakes.fake_triton import FakeTriton, ensemble_config, serving
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_triton import AccessRefusedError, InvalidInputError, ModelControl, ModelNotFoundError, RolloutError
from yolov8_triton._cli.app import app

KEY = "s3cret"


def configs(name: str, served: ServedModel) -> dict[str, Any]:
    """Return an ensemble and its composing model."""
    ensemble = ensemble_config(name, served)
    ensemble.ensemble_scheduling.step.add(model_name=f"{name}_network", model_version=-1)
    network = type(ensemble)(name=f"{name}_network", backend="python")
    return {name: ensemble, network.name: network}


@pytest.fixture
def servers() -> Iterator[list[FakeTriton]]:
    """Serve ``old`` and ``next`` on two servers with a key; the new one finds two objects, as the old one does."""
    with ExitStack() as stack:
        fakes = []
        for _ in range(2):
            served = model(Task.DETECT)
            fake = FakeTriton({**configs("old", served), **configs("next", served)}, lambda _: arrays(Task.DETECT))
            fake.control = KEY
            stack.enter_context(serving(fake))
            fakes.append(fake)
        yield fakes


@pytest.fixture
def control(servers: list[FakeTriton]) -> Iterator[ModelControl]:
    with ModelControl([fake.url for fake in servers], key=KEY, timeout_s=10) as models:
        yield models


def answering(fake: FakeTriton) -> list[str]:
    return [step.model_name for step in fake.configs["old"].ensemble_scheduling.step]


def test_a_promotion_exchanges_the_steps_on_all_servers_and_can_be_undone(
    servers: list[FakeTriton], control: ModelControl
) -> None:
    before = [fake.configs["old"].SerializeToString(deterministic=True) for fake in servers]

    control.promote("old", "next")
    promoted = [answering(fake) for fake in servers]
    control.roll_back("old")

    assert promoted == [["next_network"]] * 2
    assert [fake.configs["old"].SerializeToString(deterministic=True) for fake in servers] == before
    with pytest.raises(RolloutError, match="it was not promoted"):
        control.roll_back("old")


def test_a_second_promotion_remembers_the_first_alone(servers: list[FakeTriton], control: ModelControl) -> None:
    servers[0].configs |= configs("third", model(Task.DETECT))
    servers[1].configs |= configs("third", model(Task.DETECT))

    control.promote("old", "next")
    control.promote("old", "third")
    control.roll_back("old")

    assert control.serving()["old"] == ["next_network"]
    with pytest.raises(RolloutError, match="it was not promoted"):
        control.roll_back("old")


def test_a_load_that_fails_is_undone_everywhere(servers: list[FakeTriton], control: ModelControl) -> None:
    servers[1].broken_loads = 1

    with pytest.raises(InvalidInputError, match="load failed for model 'old'"):
        control.promote("old", "next")

    assert [answering(fake) for fake in servers] == [["old_network"]] * 2


def test_a_successor_whose_composing_model_is_not_ready_is_refused_before_any_change(
    servers: list[FakeTriton], control: ModelControl
) -> None:
    del servers[1].configs["next_network"]

    with pytest.raises(RolloutError, match="its composing model 'next_network' is not ready"):
        control.promote("old", "next")

    assert [fake.loads for fake in servers] == [[], []]


@pytest.mark.parametrize(
    ("successor", "message"),
    [
        pytest.param(model(Task.SEGMENT), "its task: expected", id="task"),
        pytest.param(replace(model(Task.DETECT), labels=("a", "b", "c")), "its labels: expected", id="labels"),
        pytest.param(replace(model(Task.DETECT), image_formats=("jpeg",)), "it takes no bmp", id="formats"),
        pytest.param(
            replace(model(Task.DETECT), network_output="end2end"), "its clients' 'iou' and 'agnostic'", id="no-nms"
        ),
    ],
)
def test_a_successor_that_clients_could_not_use_is_refused(
    servers: list[FakeTriton], control: ModelControl, successor: ServedModel, message: str
) -> None:
    for fake in servers:
        fake.configs |= configs("next", successor)

    with pytest.raises(RolloutError, match=message):
        control.promote("old", "next")


@pytest.mark.parametrize(
    ("offer", "message"), [({"timings": True}, "--timings"), ({"max_slices": 9}, "max_slices of 9")]
)
def test_a_successor_that_offers_less_is_refused(
    servers: list[FakeTriton], control: ModelControl, offer: dict[str, Any], message: str
) -> None:
    for fake in servers:
        fake.configs |= configs("old", replace(model(Task.DETECT), **offer))

    with pytest.raises(RolloutError, match=message):
        control.promote("old", "next")


def test_an_ensemble_goes_with_the_composing_models_that_only_it_uses(
    servers: list[FakeTriton], control: ModelControl
) -> None:
    assert control.unload("next") == ["next", "next_network"]
    control.load("next_network")
    control.load("next")
    control.promote("old", "next")

    assert control.unload("next") == ["next"]
    with pytest.raises(RolloutError, match="the ensemble 'old' uses it and would go down"):
        control.unload("next_network")
    assert "next_network" in servers[0].configs


def test_models_that_are_not_there_are_named(control: ModelControl) -> None:
    with pytest.raises(ModelNotFoundError, match="the repository has no such model"):
        control.load("nix")
    with pytest.raises(ModelNotFoundError, match=r"'nix' at .* is not loaded"):
        control.unload("nix")
    with pytest.raises(RolloutError, match=r"'nix' at .* is not ready: load it first"):
        control.promote("old", "nix")


@pytest.mark.parametrize(
    ("rule", "message"), [("off", "yolov8-server --model-control explicit"), ("another", "protocol is restricted")]
)
def test_without_control_or_key_nothing_changes(servers: list[FakeTriton], rule: str, message: str) -> None:
    servers[0].control = rule
    with ModelControl(servers[0].url, key=KEY) as models, pytest.raises(AccessRefusedError, match=message):
        models.promote("old", "next")

    assert answering(servers[0]) == ["old_network"]


def run(fake: FakeTriton, *arguments: object) -> Any:
    runner = CliRunner(env={"COLUMNS": "300", "TRITON_ADMIN_KEY": KEY})
    return runner.invoke(app, [*map(str, arguments), "--url", fake.url], prog_name="yolov8-triton")


def test_the_command_line_promotes_and_rolls_back(servers: list[FakeTriton]) -> None:
    promoted = run(servers[0], "rollout", "promote", "old", "next")
    status = run(servers[0], "rollout", "status", "--json")
    back = run(servers[0], "rollout", "back", "old")
    unloaded = run(servers[0], "rollout", "unload", "next")
    loaded = run(servers[0], "rollout", "load", "next")

    assert promoted.stdout == "next answers as old; the way back: yolov8-triton rollout back old\n"
    assert json.loads(status.stdout.splitlines()[-1]) == {"ensemble": "old", "composing_models": ["next_network"]}
    assert back.stdout == "old is back: old_network\n"
    assert unloaded.stdout == "unloaded: next, next_network\n"
    assert loaded.stdout == "next is loaded\n"


def test_a_model_can_not_lose_its_way_back_by_its_own_name(control: ModelControl) -> None:
    with pytest.raises(RolloutError, match="its own name"):
        control.promote("old", "old")


def test_a_wrong_key_is_one_line_and_changes_nothing(servers: list[FakeTriton]) -> None:
    done = CliRunner().invoke(app, ["rollout", "load", "old", "--url", servers[0].url], env={"TRITON_ADMIN_KEY": "no"})

    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert servers[0].loads == []


def test_the_command_line_says_what_is_wrong(servers: list[FakeTriton]) -> None:
    done = run(servers[0], "rollout", "back", "old")

    assert done.exit_code == 3
    assert done.stderr.startswith("error: model 'old' at ")


@pytest.mark.slow
def test_a_canary_of_equal_models_promotes(servers: list[FakeTriton], photo: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    done = run(servers[0], "canary", "old", "next", *[photo] * 300, "--conf", "0.3", "--apply", "--output", report)

    assert done.exit_code == 0
    assert "promote after" in done.stdout
    assert answering(servers[0]) == ["next_network"]
    assert json.loads(report.read_text())["measures"]["changed"]["within"] is True
    assert {request.parameters["conf"].double_param for request in servers[0].requests} == {0.3}


def test_a_canary_beyond_its_limits_is_unloaded(servers: list[FakeTriton], photo: Path) -> None:
    servers[0]._answer = lambda request: arrays(Task.DETECT, 2 if request.model_name == "old" else 0)

    done = run(servers[0], "canary", "old", "next", *[photo] * 40, "--apply", "--json")

    assert done.exit_code == 4
    assert json.loads(done.stdout.splitlines()[0])["verdict"] == "roll back"
    assert sorted(servers[0].configs) == ["old", "old_network"]


def test_few_images_decide_nothing_and_a_bad_one_is_a_line(servers: list[FakeTriton], photo: Path) -> None:
    done = run(servers[0], "canary", "old", "next", photo, "missing.jpg", "--apply")

    assert done.exit_code == 5
    assert "error: missing.jpg: No such file or directory" in done.stderr
    assert "nothing was applied" in done.stderr
    assert "undecided after 1 images" in done.stdout


def test_a_canary_of_a_model_that_is_not_there_is_refused(servers: list[FakeTriton], photo: Path) -> None:
    done = run(servers[0], "canary", "old", "nix", photo)
    bad_limit = run(servers[0], "canary", "old", "next", photo, "--max-overlap", "1.5")

    assert (done.exit_code, bad_limit.exit_code) == (3, 2)
    assert "overlap: expected a limit between 0 and 0.5" in bad_limit.stderr
