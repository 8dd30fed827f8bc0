# SPDX-License-Identifier: Apache-2.0
"""What the client's README shows runs."""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import yolov8_triton
from tests.clips import clip, numbered, read
from tests.fakes.answers import HEIGHT, WIDTH
from tests.fakes.certificates import Authority
from tests.unit.client.conftest import Serve

README = Path(__file__).parents[3] / "client" / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_its_python_runs(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (WIDTH, HEIGHT)).save("bus.jpg")
    mine = Authority(tmp_path / "ca").issue("me")
    for file, name in ((tmp_path / "ca" / "ca.pem", "ca.pem"), (mine.certificate, "me.pem"), (mine.key, "me.key")):
        file.rename(name)
    clip(Path("street.mp4"), numbered(5, (HEIGHT, WIDTH)))
    fake = serve()
    names: dict[str, Any] = {name: getattr(yolov8_triton, name) for name in yolov8_triton.__all__}
    names |= {"asyncio": asyncio, "paths": [Path("bus.jpg")] * 3}

    for block in blocks("python"):
        text = block.replace("localhost:8001", fake.url)
        code = compile(text, README.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (pending := eval(code, names)) is not None:
            asyncio.run(pending)

    assert len(fake.requests) == 1 + 3 * 3 + 5 + 1
    assert len(read(Path("followed.mp4"))) == 5
    assert Path("bus-found.jpg").exists()


def test_its_errors_are_all_there_are() -> None:
    named = set(re.findall(r"`(\w+Error)`", README.read_text())) - set(vars(builtins))

    errors = {name for name, value in vars(yolov8_triton).items() if inspect.isclass(value) and name.endswith("Error")}
    assert named == errors
