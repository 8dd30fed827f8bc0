# SPDX-License-Identifier: Apache-2.0
"""What an examination finds."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One thing that was examined.

    Attributes:
        level: How much it matters.
        subject: What was examined: ``client``, an address, or a model at an address.
        text: What was found.
        advice: What to do about it, with the command to type where there is one.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """Return a finding that needs nothing to be done."""
    return Finding(Level.OK, subject, text)


def note(subject: str, text: str, advice: str = "") -> Finding:
    """Return a finding that some users want to know."""
    return Finding(Level.NOTE, subject, text, advice)


def warning(subject: str, text: str, advice: str) -> Finding:
    """Return a finding with which calls work, but not all or not as expected."""
    return Finding(Level.WARNING, subject, text, advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    """Return a finding with which calls fail."""
    return Finding(Level.PROBLEM, subject, text, advice)
