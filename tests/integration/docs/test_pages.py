# SPDX-License-Identifier: Apache-2.0
"""The commands and the Python of every page run as they stand there, but for blocks that say what they need.

The README's commands run first: they leave an exported repository and a server, which the other pages use.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import yolov8_triton
from tests.clips import read
from tests.integration.docs.checkout import Checkout
from tests.pages import PAGES, SHELL, Block, blocks

pytestmark = pytest.mark.timeout(600)  # the README exports twice and starts two servers, in one fixture

README, CLIENT = "README.md", "client/README.md"


def runnable(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.needs is None and block.language in {*SHELL, "python"}]


RUN = [page for page in PAGES if page not in {README, CLIENT} and runnable(page)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The project after the README's commands."""
    checkout = Checkout(tmp_path_factory.mktemp("docs"))
    try:
        run_shell(README, checkout)
        assert checkout.addresses, "the README starts no server"
        yield checkout
    finally:
        checkout.close()


def run_shell(page: str, checkout: Checkout) -> None:
    for block in runnable(page):
        if block.language in SHELL:
            checkout.run(block.shell())


def run_python(page: str, checkout: Checkout) -> dict[str, Any]:
    """Run the Python of a page, block after block, in one namespace; return it."""
    names: dict[str, Any] = {name: getattr(yolov8_triton, name) for name in yolov8_triton.__all__}
    names |= {"asyncio": asyncio, "paths": [Path("bus.jpg")] * 3}
    for block in runnable(page):
        if block.language == "python":
            text = "\n" * block.line + checkout.here(block.text)
            code = compile(text, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if (pending := eval(code, names)) is not None:
                asyncio.run(pending)
    return names


@pytest.fixture
def inside(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(checkout.root)
    return checkout


def test_the_readme(inside: Checkout) -> None:
    found = run_python(README, inside)["found"]

    assert isinstance(found, yolov8_triton.Detections)
    assert list((inside.root / "build/annotated").iterdir()) != []
    assert (inside.root / "build" / "loadtest" / "smoke.html").exists()


def test_the_client_readme(inside: Checkout) -> None:
    run_shell(CLIENT, inside)
    (inside.root / "followed.mp4").unlink()

    run_python(CLIENT, inside)

    assert len(read(inside.root / "followed.mp4")) == 5
    assert (inside.root / "bus-found.jpg").exists()


@pytest.mark.parametrize("page", RUN)
def test_a_page(page: str, inside: Checkout) -> None:
    run_shell(page, inside)
    run_python(page, inside)
