# SPDX-License-Identifier: Apache-2.0
"""Markdown pages of the project, their code blocks, and the commands in them.

A block names its language. The comment ``<!-- needs: Docker -->`` in the line before a block says why no test runs it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATTERNS = ("*.md", "[!.]*/README.md", "docs/*.md", "tests/[!.]*/README.md")
PAGES = sorted({path.relative_to(ROOT).as_posix() for pattern in PATTERNS for path in ROOT.glob(pattern)})
SHELL = frozenset({"sh", "console"})
OTHER = frozenset({"text", "toml", "json", "yaml"})
"""Languages of blocks that hold no commands."""

_BLOCK = re.compile(
    r"^(?:<!-- needs: (?P<needs>[^>]+) -->\n)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"`((?:yolov8-(?:triton|export|server|loadtest)|make|python3? -m|python3? \S+\.py) [^`|]+)`")
_SEPARATORS = frozenset({"&&", "||", "|", ";", "&", ">", "<", "(", ")", "{", "}"})


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: The page, relative to the root.
        line: The line of its fence.
        language: What stands behind the fence's opening.
        text: The lines between the fences.
        needs: What it takes to run the block, if no test can.
    """

    page: str
    line: int
    language: str
    text: str
    needs: str | None

    def shell(self) -> str:
        """Return the commands of a shell block; in ``console`` they stand behind ``$``."""
        if self.language != "console":
            return self.text
        return "".join(f"{line[2:]}\n" for line in self.text.splitlines() if line.startswith("$ "))


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"].strip(),
            text=found["text"],
            needs=found["needs"],
        )
        for found in _BLOCK.finditer(text)
    ]


def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return _BLOCK.sub("", (ROOT / page).read_text("utf-8"))


def inline_commands(page: str) -> list[str]:
    """Return the commands that stand in backticks in the sentences of a page."""
    return [found[1] for found in _INLINE.finditer(prose(page))]


def commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell script, without assignments in front and without redirections."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _SEPARATORS:
                words.append(word)
                continue
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words and words[0] != "cd":
                yield words
            words = ["cd"] if word in {">", "<"} else []  # a file that output goes to is no command
