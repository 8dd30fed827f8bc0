# SPDX-License-Identifier: Apache-2.0
"""Ultralytics' own client is measured on a network that takes what it sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_loadtest.benchmark.contenders import OTHER_CLIENT, OTHER_CLIENT_INT8, Setting, contenders

PLANES, BYTES = (
    ServedModel(task=Task.DETECT, labels=("cat", "dog", "cow"), imgsz=(64, 64), network_input=pixels)
    for pixels in ("fp32", "uint8")
)


@pytest.mark.parametrize(
    ("served", "model"),
    [
        ({"m": PLANES}, "m"),
        ({"m": BYTES, "m-fp32": PLANES}, "m-fp32"),
        ({"m": BYTES}, None),
        ({"m": BYTES, "m-fp32": BYTES}, None),
    ],
    ids=["as-it-is", "exported-for-it", "bytes-alone", "bytes-under-its-name"],
)
def test_ultralytics_client_gets_the_model_that_takes_planes(served: dict[str, ServedModel], model: str | None) -> None:
    found = {one.way: one for one in contenders(setting(served))}

    assert (found[OTHER_CLIENT].model if OTHER_CLIENT in found else None) == model
    if model:
        assert found[OTHER_CLIENT].command[-1] == f"grpc://host:8001/{model}_network"


def test_its_int8_model_too() -> None:
    for int8, is_there in ((PLANES, True), (BYTES, False)):
        ways = {one.way for one in contenders(setting({"m": PLANES, "m-int8": int8}))}

        assert (OTHER_CLIENT_INT8 in ways) is is_there


def setting(served: dict[str, ServedModel]) -> Setting:
    return Setting(
        url="host:8001", model="m", served=served, repository=None, baselines=Path("theirs.py"), weights=None, cores=2
    )
