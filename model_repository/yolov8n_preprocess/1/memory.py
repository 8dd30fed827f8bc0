# SPDX-License-Identifier: Apache-2.0
"""What the C library does with memory that an image no longer needs."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGEST_KEPT = 32 << 20
"""The most that glibc lets M_MMAP_THRESHOLD be. Larger blocks, of images above some 10 megapixels, are given back."""
_KEPT = 64 << 20


def keep_freed() -> None:
    """Keep what one image leaves for the next, in one place for all threads.

    Left alone, glibc gives it back to the kernel, which fills it with zeros again, page by page, for the next image:
    hundreds of page faults, a third of what preprocessing costs. And each thread has a heap of its own, so that the
    process grows for as long as there is a thread that has not had a large image yet.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
