# SPDX-License-Identifier: Apache-2.0
"""From a class's name to its id."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_LISTED = 10


def ids_of(name: str, labels: Sequence[str]) -> list[int]:
    """Return the ids of the classes with this name: one, unless the labels repeat themselves.

    Raises:
        ValueError: There is none.
    """
    ids = [number for number, label in enumerate(labels) if label == name]
    if not ids:
        close = difflib.get_close_matches(name, labels, n=1)
        listed = ", ".join(map(repr, labels[:_LISTED])) + (" ..." if len(labels) > _LISTED else "")
        hint = f"did you mean {close[0]!r}?" if close else f"it has {listed}"
        raise ValueError(f"the model has no class {name!r}; {hint}")
    return ids
