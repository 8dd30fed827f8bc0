# SPDX-License-Identifier: Apache-2.0
"""Configure the C library to reuse the memory of one image for the next."""

from __future__ import annotations

import ctypes

# Constants of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGEST_KEPT = 32 << 20
"""The largest M_MMAP_THRESHOLD of glibc. Larger blocks (images above 10 megapixels) are returned to the kernel."""
_KEPT = 64 << 20


def keep_freed() -> None:
    """Keep freed memory for the next image, in one heap for all threads.

    By default glibc returns the memory to the kernel, and the kernel zeroes it page by page for the next image. These
    hundreds of page faults take a third of the preprocessing time. By default each thread also has its own heap, so
    the process grows until every thread has processed a large image.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # only glibc has it
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
