# SPDX-License-Identifier: Apache-2.0
"""An image in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.fakes.answers import HEIGHT, WIDTH


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return an image that each fake server answers."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (WIDTH, HEIGHT), "grey").save(path)
    return path
