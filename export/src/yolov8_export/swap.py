# SPDX-License-Identifier: AGPL-3.0-or-later
"""Put folders in place of others, all or none."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def swap_all(changes: Sequence[tuple[Path, Path]]) -> None:
    """Swap pairs of paths in their order; one of a pair may be missing.

    Afterwards each first path holds what its second one held. Where one swap fails, those done before it are undone.

    Raises:
        OSError: A swap failed.
    """
    done: list[tuple[Path, Path]] = []
    with _signals_held():
        try:
            for new, place in changes:
                swap(new, place)
                done.append((new, place))
        except BaseException:
            for new, place in reversed(done):
                swap(new, place)
            raise


def swap(one: Path, other: Path) -> None:
    """Exchange two paths; where one of them is missing, the other is renamed to it."""
    if not other.exists():
        one.rename(other)
    elif not one.exists():
        other.rename(one)
    elif not _exchange(one, other):
        aside = one.with_name(f"{one.name}.aside")
        other.rename(aside)
        one.rename(other)
        aside.rename(one)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step, so that there is no moment without either; False where the system can't."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # macOS, old C libraries
        return False
    failed: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return not failed


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let Ctrl-C and termination wait for the few milliseconds that the swaps take."""
    held = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
