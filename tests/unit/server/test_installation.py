# SPDX-License-Identifier: Apache-2.0
"""The launcher searches for tritonserver in a fixed order of places."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.server.conftest import StandIn
from yolov8_server import TritonNotFoundError, find_tritonserver


def test_the_variable_comes_first(tmp_path: Path) -> None:
    named, on_path = StandIn(tmp_path / "named"), StandIn(tmp_path / "on_path")

    found = find_tritonserver({"TRITONSERVER": str(named.binary), "PATH": str(on_path.binary.parent)})

    assert found.binary == named.binary


def test_the_path_comes_before_the_wheel(tmp_path: Path) -> None:
    on_path = StandIn(tmp_path)

    found = find_tritonserver({"PATH": f"/nowhere:{on_path.binary.parent}"})

    assert found.binary == on_path.binary
    assert not found.is_embedded


def test_the_wheel_is_found_without_any_setting() -> None:
    assert find_tritonserver({"PATH": "/nowhere"}).is_embedded


def test_a_link_leads_to_the_backends_beside_the_binary(tmp_path: Path) -> None:
    installation = StandIn(tmp_path / "triton")
    link = tmp_path / "tritonserver"
    link.symlink_to(installation.binary)

    assert find_tritonserver({"TRITONSERVER": str(link)}).backends == installation.root / "backends"


@pytest.mark.parametrize("kind", ["missing", "folder", "not-executable"])
def test_a_variable_that_names_no_program_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "not-executable":
        path.write_text("")

    with pytest.raises(TritonNotFoundError, match=f"TRITONSERVER is '{path}', which is not an executable file"):
        find_tritonserver({"TRITONSERVER": str(path)})


def test_the_error_names_every_searched_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytriton", None)  # as if it were not installed

    with pytest.raises(TritonNotFoundError) as error:
        find_tritonserver({"PATH": "/nowhere"})

    for place in ("$TRITONSERVER", "PATH", "/opt/tritonserver/bin/tritonserver", "nvidia-pytriton"):
        assert place in str(error.value)
