# SPDX-License-Identifier: Apache-2.0
"""Write COCO results in the format that ``loadRes`` of pycocotools reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolov8_triton._cli.output import warn
from yolov8_triton._errors import InvalidParameterError
from yolov8_triton._results.objects import COCO_CATEGORY_IDS, DetectedObjects

if TYPE_CHECKING:
    from typing_extensions import Self

_FIRST, _LAST = "person", "toothbrush"
"""The first and the last of COCO's 80 classes."""
_NO_CATEGORY = -1


class CocoResults:
    """A file of COCO results: rows are written to a temporary file, which replaces the file when it is complete.

    With annotations, the ids of images and categories are those that the annotations have for the image's file name
    and the class's name. Without them, an image's id is the number in its file name, as for COCO's own images. A
    category's id is then COCO's own if the model has COCO's 80 classes, and the class id otherwise.

    Raises:
        OSError: The annotations can't be read, or the folder can't be written to.
        InvalidParameterError: The file of annotations has another format.
    """

    def __init__(self, path: Path, truth: Path | None, labels: Sequence[str]) -> None:
        annotations = None if truth is None else _read(truth)
        self._truth, self._image_ids = truth, None if annotations is None else _image_ids(annotations)
        self._category_ids = _category_ids(labels, annotations)
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("w")
        self._between = "[\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.write("]\n" if self._between != "[\n" else "[]\n")
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def add(self, image: str, found: DetectedObjects) -> None:
        """Write the objects of one image.

        Raises:
            FileNotFoundError: The annotations have no image of that name.
            InvalidParameterError: There are no annotations, and the image's name is not a number.
        """
        for row in found.to_coco(self._image_id(image), category_ids=self._category_ids):
            if row["category_id"] != _NO_CATEGORY:
                self._file.write(f"{self._between}{json.dumps(row)}")
                self._between = ",\n"

    def _image_id(self, image: str) -> int:
        path = Path(image)
        if self._image_ids is not None:
            if path.name not in self._image_ids:
                raise FileNotFoundError(None, f"{self._truth} has no image of this name")
            return self._image_ids[path.name]
        if not path.stem.isdecimal():
            raise InvalidParameterError(
                f"{image}: --coco takes the image's id from its name, which is not a number; "
                "give the annotations with --coco-truth"
            )
        return int(path.stem)


def _read(truth: Path) -> dict[str, Any]:
    try:
        annotations = json.loads(truth.read_bytes())
        if annotations.keys() >= {"images", "categories"}:
            return annotations  # type: ignore[no-any-return]  # JSON
    except (ValueError, AttributeError) as exc:
        raise InvalidParameterError(f"{truth}: not COCO annotations: {exc}") from exc
    raise InvalidParameterError(f"{truth}: not COCO annotations: expected 'images' and 'categories'")


def _image_ids(annotations: dict[str, Any]) -> dict[str, int]:
    return {Path(image["file_name"]).name: int(image["id"]) for image in annotations["images"]}


def _category_ids(labels: Sequence[str], annotations: dict[str, Any] | None) -> Sequence[int]:
    if annotations is not None:
        by_name = {str(category["name"]): int(category["id"]) for category in annotations["categories"]}
        unknown = [label for label in labels if label not in by_name]
        if unknown:
            warn(f"classes without a category of the same name are left out: {', '.join(unknown)}")
        return [by_name.get(label, _NO_CATEGORY) for label in labels]
    if len(labels) == len(COCO_CATEGORY_IDS) and (labels[0], labels[-1]) == (_FIRST, _LAST):
        return COCO_CATEGORY_IDS
    return range(len(labels))
