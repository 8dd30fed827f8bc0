# SPDX-License-Identifier: Apache-2.0
"""Processes whose output is read line by line at first."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor


def rest(process: subprocess.Popen[str], timeout_s: float) -> tuple[str, str]:
    """Wait for the end of a process; return what it wrote to stdout and stderr and nobody has read.

    `Popen.communicate` would leave out what ``readline`` has read ahead. A process that takes longer is killed.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr, ThreadPoolExecutor(2) as pool:
        output, errors = pool.submit(process.stdout.read), pool.submit(process.stderr.read)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return output.result(), errors.result()
