# SPDX-License-Identifier: Apache-2.0
"""Every command of every page can be typed: its program, verbs, options and files exist."""

from __future__ import annotations

import re

import pytest

from tests.pages import OTHER, PAGES, ROOT, SHELL, blocks, commands, inline_commands, prose
from tests.unit.docs.help import faults

UNUSUAL = frozenset({"python", *SHELL, *OTHER})


@pytest.mark.parametrize("page", PAGES)
def test_each_block_names_a_language(page: str) -> None:
    assert [f"{page}:{block.line}" for block in blocks(page) if block.language not in UNUSUAL] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_indented_instead_of_fenced(page: str) -> None:
    assert re.findall(r"\n\n( {4}\S.*)|^( +```)", prose(page), re.MULTILINE) == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_a_block_exists(page: str) -> None:
    shell = [(block.line, block.shell()) for block in blocks(page) if block.language in SHELL]
    wrong = [f"{page}:{line}: {fault}" for line, text in shell for words in commands(text) for fault in faults(words)]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_each_command_in_a_sentence_exists(page: str) -> None:
    wrong = [
        f"{page}: `{text}`: {fault}"
        for text in inline_commands(page)
        for words in commands(text)
        for fault in faults(words)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_each_link_to_a_file_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose(page))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        pytest.param("yolov8-export exprot a.pt", "has no command 'exprot'", id="verb"),
        pytest.param("yolov8-export export a.pt --repositry b", "has no option --repositry", id="option"),
        pytest.param("yolov8-nothing", "unknown program", id="program"),
        pytest.param("python -m yolov8_export plan a", "has no command 'plan'", id="module"),
        pytest.param("make severe", "make has no verb 'severe'", id="make verb"),
        pytest.param("make export WEIGHT=a.pt", "make has no variable WEIGHT", id="make variable"),
        pytest.param('make loadtest ARGS="--limits a=1"', "has no option --limits", id="make ARGS"),
        pytest.param("pip install yolov8-triton-client", "is not on PyPI", id="PyPI"),
        pytest.param("pip install './client[everything]'", "no extra everything", id="extra"),
        pytest.param("docker build -f docker/Dockerfile --target none .", "has no target none", id="target"),
        pytest.param("python examples/none.py", "no file examples/none.py", id="script"),
        pytest.param("cp a b", "unknown program 'cp'", id="unknown"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, fault: str) -> None:
    (words,) = commands(command)

    assert fault in " ".join(faults(words))


def test_commands_are_split_as_a_shell_does() -> None:
    script = "A=1 make x && python y.py > out.txt  # comment\nmake z \\\n  B=2 | cat"

    assert list(commands(script)) == [["make", "x"], ["python", "y.py"], ["make", "z", "B=2"], ["cat"]]
