# SPDX-License-Identifier: Apache-2.0
"""Refuse riddles in docstrings and comments: ``python -m tests.prose [FILE...]``, as ``make check`` does.

Without files, it reads all Python files that git knows. A docstring is that of a module, class or function, or the text
below an attribute. The rules are few on purpose: they find the tics that made this project's prose hard to read.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """A pattern that prose must not contain, and what to write instead.

    Attributes:
        pattern: The refused text.
        advice: What to do about it.
    """

    pattern: re.Pattern[str]
    advice: str


@dataclass(frozen=True)
class Prose:
    """A piece of prose in a source file.

    Attributes:
        line: The line where it starts.
        text: A docstring, an entry of its Args or Attributes, or a comment.
        is_comment: Whether it is a comment; the others are sentences and have to end as such.
    """

    line: int
    text: str
    is_comment: bool = False


RULES = (
    Rule(re.compile(r"\AOf\b"), "a fragment or an inversion: name the subject first, such as 'The size of …'"),
    Rule(re.compile(r"\A(the same|as above)\b[^ ]*\Z", re.IGNORECASE), "a reference: say what it is"),
    Rule(re.compile(r"\blikewise\b", re.IGNORECASE), "a reference: repeat the reason in words"),
    Rule(re.compile(r"\bas (was )?said\b", re.IGNORECASE), "a reference: repeat the fact or name its place"),
    Rule(re.compile(r"\bputs? out\b", re.IGNORECASE), "the field's word is 'output'"),
    Rule(re.compile(r"(?<!there )\b(is|are) none\b(?! of)", re.IGNORECASE), "a riddle: say 'is not a …'"),
    Rule(re.compile(r"\bthere (is|are) no use\b", re.IGNORECASE), "an idiom: say what has no effect, and why"),
    Rule(re.compile(r"\bwithout a word\b", re.IGNORECASE), "an idiom: say 'without a message'"),
    Rule(re.compile(r"\b(hold|holds|held)\b[^.]{1,40}\bagainst\b", re.IGNORECASE), "an idiom: say 'compare with'"),
    Rule(re.compile(r"\bcop(y|ies) of the network\b", re.IGNORECASE), "Triton's word is 'model instance'"),
    Rule(re.compile(r"\bnamed configurations?\b", re.IGNORECASE), "Triton's word is 'custom model configuration'"),
)
ENDINGS = (".", ":", "…", "?", "```")
UNFINISHED = "a fragment: the first paragraph ends with neither a full stop nor a colon"
_ENTRY = re.compile(r"^ {4,8}\*{0,2}\w+: (?P<text>\S.*?)(?=^ {4,8}\*{0,2}\w+: |^\S|^\s*$|\Z)", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^\s*(Args|Attributes|Keys):\n(?P<body>(?:\s*\S.*\n?)+)", re.MULTILINE)


def complaints(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the complaint for everything in a source text that a rule refuses."""
    for prose in (*docstrings(ast.parse(source)), *comments(source)):
        flat = " ".join(prose.text.split())
        for rule in RULES:
            if found := rule.pattern.search(flat):
                yield prose.line, f"{found[0]!r}: {rule.advice}"
        if not (prose.is_comment or prose.text.strip().partition("\n\n")[0].rstrip().endswith(ENDINGS)):
            yield prose.line, UNFINISHED


def docstrings(tree: ast.AST) -> Iterator[Prose]:
    """Yield every docstring, and each entry of its Args and Attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield Prose(statement.lineno, _SECTION.sub("", text))
                    yield from entries(text, statement.lineno)


def entries(docstring: str, line: int) -> Iterator[Prose]:
    """Yield the texts of a docstring's Args and Attributes."""
    for section in _SECTION.finditer(docstring):
        for found in _ENTRY.finditer(section["body"]):
            start = section.start("body") + found.start()
            text = found["text"]
            yield Prose(line + docstring.count("\n", 0, start), text[:1].upper() + text[1:])


def comments(source: str) -> Iterator[Prose]:
    """Yield every comment line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Prose(token.start[0], token.string.lstrip("# "), is_comment=True)


def main(arguments: list[str]) -> int:
    """Print the complaints about the given files, or about all; return the exit code."""
    tracked = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout.split()
    names = arguments or tracked
    found = [f"{name}:{line}: {text}" for name in names for line, text in complaints(Path(name).read_text("utf-8"))]
    print("\n".join(found) or f"prose: {len(names)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
