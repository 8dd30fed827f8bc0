# SPDX-License-Identifier: Apache-2.0
"""Test what is found about the packages of an environment."""

from __future__ import annotations

from email.message import Message
from importlib import metadata

import pytest

from yolov8_triton._doctor.environment import environment
from yolov8_triton._doctor.findings import Finding, Level

REQUIRES = [
    "numpy>=1.26",
    "numpy>=99; python_version < '3'",
    "tritonclient[grpc]>=2.73",
    "rich>=13; extra == 'cli'",
    "rich>=13; extra == 'all'",
    "httpx>=0.27; extra == 'http'",
]
SOUND = {"yolov8-triton-client": "0.1.0", "numpy": "1.26.4", "tritonclient": "2.73.0", "rich": "15.0", "httpx": "0.28"}


def findings(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]) -> list[Finding]:
    """Examine an environment in which these packages are installed."""

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    described = Message()
    for extra in ("all", "cli", "http"):
        described["Provides-Extra"] = extra
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda _: REQUIRES)
    monkeypatch.setattr(metadata, "metadata", lambda _: described)
    return list(environment())


def test_a_sound_environment_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, SOUND)

    assert {one.level for one in found} == {Level.OK}
    assert "dependencies: numpy 1.26.4, tritonclient 2.73.0" in [one.text for one in found]
    assert "extras installed: cli, http" in [one.text for one in found]


def test_a_dependency_that_is_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, SOUND | {"tritonclient": "2.40.0"})

    (problem,) = (one for one in found if one.level is Level.PROBLEM)
    assert problem.text == "tritonclient 2.40.0 is installed; tritonclient[grpc]>=2.73 is needed"
    assert problem.advice == "pip install 'tritonclient[grpc]>=2.73'"


def test_a_dependency_that_is_missing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, {name: version for name, version in SOUND.items() if name != "numpy"})

    (problem,) = (one for one in found if one.level is Level.PROBLEM)
    assert problem.text == "numpy is not installed; numpy>=1.26 is needed"


def test_an_extra_that_is_missing_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, {name: version for name, version in SOUND.items() if name != "httpx"})

    (note,) = (one for one in found if one.level is Level.NOTE)
    assert note.text == "extras not installed: http"


def test_an_extra_that_is_too_old_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(monkeypatch, SOUND | {"httpx": "0.20"})

    (warning,) = (one for one in found if one.level is Level.WARNING)
    assert warning.text == "extra http: httpx 0.20 is installed; >=0.27 is needed"


def test_two_builds_of_opencv_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    opencv = {"opencv-python": "4.11.0.86", "opencv-python-headless": "4.11.0.86"}

    found = findings(monkeypatch, SOUND | opencv)

    (warning,) = (one for one in found if one.level is Level.WARNING)
    assert "opencv-python and opencv-python-headless are installed over each other" in warning.text
