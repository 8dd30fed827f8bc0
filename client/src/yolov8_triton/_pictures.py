# SPDX-License-Identifier: Apache-2.0
"""Write annotated pictures into a folder."""

from __future__ import annotations

from pathlib import Path

from yolov8_triton._draw import draw
from yolov8_triton._extras import extra
from yolov8_triton._image_arguments import STDIN
from yolov8_triton._images import ImageInput
from yolov8_triton._protocol import Result

_QUALITY = 92
_STDIN_STEM = "stdin"


class Pictures:
    """A folder of annotated pictures, made where it is missing.

    Raises:
        ImportError: The extra ``draw`` is not installed.
        OSError: The folder can't be made.
    """

    def __init__(self, folder: Path) -> None:
        with extra("draw"):
            import supervision  # noqa: F401  (miss it before the first image, not after)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[Path] = set()

    def write(self, path: str, image: ImageInput, result: Result) -> Path:
        """Write the picture of one image; return its path: the image's name with ``.jpg``.

        Args:
            path: What the image is called; ``-`` is stdin.
            image: What was sent.
            result: What was found.

        Raises:
            FileExistsError: It would overwrite the image itself.
        """
        target = self._free(_STDIN_STEM if path == STDIN else Path(path).stem)
        if path != STDIN and target.resolve() == Path(path).resolve():
            raise FileExistsError(None, f"its picture would overwrite it, use another folder than {self._folder}")
        draw(image, result).save(target, quality=_QUALITY)
        return target

    def _free(self, stem: str) -> Path:
        """Return a path that this run has not written: images of two folders may share their names."""
        target, number = self._folder / f"{stem}.jpg", 2
        while target in self._taken:
            target, number = self._folder / f"{stem}-{number}.jpg", number + 1
        self._taken.add(target)
        return target
