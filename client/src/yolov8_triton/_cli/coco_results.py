# SPDX-License-Identifier: Apache-2.0
"""Write COCO results in the format that ``loadRes`` of pycocotools reads."""

from __future__ import annotations

import json
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolov8_triton._cli.output import file_to_write, warn
from yolov8_triton._errors import InvalidInputError, InvalidParameterError
from yolov8_triton._results.objects import COCO_CATEGORY_IDS, DetectedObjects

if TYPE_CHECKING:
    from typing_extensions import Self

_FIRST, _LAST = "person", "toothbrush"
"""The first and the last of COCO's 80 classes."""
_NO_CATEGORY = -1
_SHOWN, _SHOWN_LETTERS = 3, 80


class CocoResults:
    """A file of COCO results: rows are written to a temporary file, which replaces the file when it is complete.

    With annotations, the ids of images and categories are those that the annotations have for the image's path and the
    class's name. The folders of the path decide among images of one name. Without annotations, an image's id is the
    number in its file name, as for COCO's own images. A category's id is then COCO's own if the model has COCO's 80
    classes, and the class id otherwise. Two images never share an id.

    Raises:
        OSError: The annotations can't be read, or the folder can't be written to.
        InvalidParameterError: The file of annotations has another format.
    """

    def __init__(self, path: Path, truth: Path | None, labels: Sequence[str]) -> None:
        annotations = None if truth is None else _read(truth)
        self._truth, self._images = truth, None if annotations is None else TruthImages(annotations["images"])
        self._category_ids = _category_ids(labels, annotations)
        self._path = path = file_to_write(path, "--coco")
        if truth is not None and path.exists() and path.samefile(truth):
            raise InvalidParameterError(f"--coco: the results would overwrite the annotations {str(truth)!r}")
        self._part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("w")
        self._between = "[\n"
        self._given: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._file.write("]\n" if self._between != "[\n" else "[]\n")
        self._file.close()
        try:
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, image: str, found: DetectedObjects) -> None:
        """Write the objects of one image.

        Raises:
            FileNotFoundError: The annotations have no image of that name.
            InvalidInputError: The annotations have several that it may be, or another image was given that id.
            InvalidParameterError: There are no annotations, and the image's name is not a number; or the results would
                overwrite the image.
        """
        if os.path.realpath(image) == str(self._path):
            raise InvalidParameterError(f"--coco: the results would overwrite the image {image!r}")
        number = self._image_id(image)
        if number in self._given:
            raise InvalidInputError(
                f"its image id would be {number}, which already has results, those of {self._given[number]}"
            )
        self._given[number] = image
        for row in found.to_coco(number, category_ids=self._category_ids):
            if row["category_id"] != _NO_CATEGORY:
                self._file.write(f"{self._between}{json.dumps(row)}")
                self._between = ",\n"

    def _image_id(self, image: str) -> int:
        if self._images is not None:
            found = self._images.find(image)
            if len(found) == 1:
                return next(iter(found))
            if not found:
                raise FileNotFoundError(None, f"{self._truth} has no image of this name")
            names = " and ".join(f"{name!r} (id {number})" for number, name in [*found.items()][:_SHOWN])
            raise InvalidInputError(f"{self._truth} has {len(found)} images that it may be, such as {names}")
        stem = Path(image).stem
        if not stem.isdecimal():
            raise InvalidParameterError(
                f"{image}: --coco takes the image's id from its name, which is not a number; "
                "give the annotations with --coco-truth"
            )
        return int(stem)


class TruthImages:
    """The images of COCO annotations, found by their paths.

    Raises:
        InvalidParameterError: An image has no name or no id, or two have one id.
    """

    def __init__(self, images: object) -> None:
        self._by_name: dict[str, dict[int, str]] = {}
        names: dict[int, str] = {}
        for where, number, name in _entries(images, "images", "file_name"):
            if names.setdefault(number, name) != name:
                raise _malformed(f"{where}.id", "a number of its own", f"{number}, the id of {names[number]!r}")
            self._by_name.setdefault(_folders(name)[0], {})[number] = name

    def find(self, image: str) -> dict[int, str]:
        """Return the images that a path may mean, names by ids: those with the most folders in common.

        Of these, one whose name has no further folder is the one.
        """
        path = _folders(os.path.abspath(image))  # noqa: PTH100  (resolve() would follow links)
        found = self._by_name.get(path[0], {})
        common = {number: _common(path, _folders(name)) for number, name in found.items()}
        closest = {number: name for number, name in found.items() if common[number] == max(common.values())}
        whole = {number: name for number, name in closest.items() if len(_folders(name)) == common[number]}
        return whole if len(whole) == 1 else closest


def _folders(path: str) -> list[str]:
    """Return the parts of a path, the file's name first; macOS writes letters with accents as two, others as one."""
    path = unicodedata.normalize("NFC", path.replace("\\", "/"))
    return [part for part in reversed(posixpath.normpath(path).split("/")) if part] or [""]


def _common(path: list[str], name: list[str]) -> int:
    same = [ours == theirs for ours, theirs in zip(path, name, strict=False)]
    return same.index(False) if False in same else len(same)


def _read(truth: Path) -> dict[str, Any]:
    try:
        annotations = json.loads(truth.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise InvalidParameterError(f"{truth}: not COCO annotations: {exc}") from exc
    if isinstance(annotations, dict) and annotations.keys() >= {"images", "categories"}:
        return annotations
    raise InvalidParameterError(f"{truth}: not COCO annotations: expected 'images' and 'categories'")


def _entries(listed: object, key: str, name_key: str) -> Iterator[tuple[str, int, str]]:
    """Yield place, id and name of each entry of a list of the annotations."""
    if not isinstance(listed, list):
        raise _malformed(key, "a list", listed)
    for index, entry in enumerate(listed):
        where = f"{key}[{index}]"
        if not isinstance(entry, dict):
            raise _malformed(where, "an object", entry)
        number, name = entry.get("id"), entry.get(name_key)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise _malformed(f"{where}.id", "a whole number of at least 0", number)
        if not isinstance(name, str) or not name:
            raise _malformed(f"{where}.{name_key}", "a text", name)
        yield where, number, name


def _malformed(where: str, expected: str, got: object) -> InvalidParameterError:
    shown = got if isinstance(got, str) else repr(got)
    return InvalidParameterError(f"--coco-truth: {where}: expected {expected}, got {shown[:_SHOWN_LETTERS]}")


def _category_ids(labels: Sequence[str], annotations: dict[str, Any] | None) -> Sequence[int]:
    if annotations is not None:
        by_name = _category_ids_by_name(annotations["categories"], set(labels))
        unknown = [label for label in labels if label not in by_name]
        if len(unknown) == len(labels):
            raise InvalidParameterError(
                f"--coco-truth: no category has the name of a class of the model, such as {labels[0]!r}"
            )
        if unknown:
            warn(f"classes without a category of the same name are left out: {', '.join(unknown)}")
        return [by_name.get(label, _NO_CATEGORY) for label in labels]
    if len(labels) == len(COCO_CATEGORY_IDS) and (labels[0], labels[-1]) == (_FIRST, _LAST):
        return COCO_CATEGORY_IDS
    return range(len(labels))


def _category_ids_by_name(categories: object, labels: set[str]) -> dict[str, int]:
    """Return the ids of the categories that are classes of the model; others may be ambiguous."""
    by_name: dict[str, int] = {}
    names: dict[int, str] = {}
    for where, number, name in _entries(categories, "categories", "name"):
        if name not in labels:
            continue
        if by_name.setdefault(name, number) != number:
            raise _malformed(f"{where}.name", "a name of its own", f"{name!r}, which id {by_name[name]} has, too")
        if names.setdefault(number, name) != name:
            raise _malformed(f"{where}.id", "a number of its own", f"{number}, the id of {names[number]!r}")
    return by_name
