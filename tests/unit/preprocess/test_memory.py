# SPDX-License-Identifier: Apache-2.0
"""Memory from one image to the next, in a process of its own: the settings are the whole process'."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import memory
import pytest
from PIL import Image

from tests import corpus

PROGRAM = """
import resource, sys
from pathlib import Path
folder, how, *files = sys.argv[1:]
sys.path.insert(0, folder)
import memory, pixels
if how == "keep":
    memory.keep_freed()
images = [Path(file).read_bytes() for file in files]
def batches():
    for _ in range(10):
        [pixels.planes(pixels.letterboxed(pixels.decode(image), (640, 640))) for image in images]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batches()
print((-batches() + batches()) / 10 / len(images))
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A batch of images."""
    paths = [tmp_path / f"{height}.jpg" for height in (320, 400, 480, 560)]
    for path in paths:
        path.write_bytes(corpus.encode(Image.fromarray(corpus.picture(int(path.stem), 640)), "JPEG"))
    return [str(path) for path in paths]


def page_faults(how: str, files: list[str]) -> float:
    """Return how many an image has, after the first batches."""
    command = [sys.executable, "-c", PROGRAM, str(Path(memory.__file__).parent), how, *files]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another C library")
def test_the_memory_of_one_batch_is_kept_for_the_next(files: list[str]) -> None:
    left_alone, kept = page_faults("leave", files), page_faults("keep", files)

    assert kept < 5
    assert left_alone > 50  # else there is nothing to keep any more, and the module can go
