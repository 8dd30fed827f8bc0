# SPDX-License-Identifier: Apache-2.0
"""The base class of results that list objects, with its conversions to plain values, COCO and supervision."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolov8_triton._extras import extra
from yolov8_triton._results.timings import Timings

if TYPE_CHECKING:
    import supervision as sv
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from yolov8_contract.task import Task

if TYPE_CHECKING:
    from typing_extensions import Self


_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Ids of categories that COCO names but never annotates."""

COCO_CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""COCO's category id of each of its 80 classes, by class id, for ``to_coco(category_ids=...)``."""


_LISTED = 10


def ids_of(name: str, labels: Sequence[str]) -> list[int]:
    """Return the ids of the classes with a name: one id, unless labels are repeated.

    Raises:
        ValueError: No class has the name.
    """
    ids = [number for number, label in enumerate(labels) if label == name]
    if not ids:
        close = difflib.get_close_matches(name, labels, n=1)
        listed = ", ".join(map(repr, labels[:_LISTED])) + (" ..." if len(labels) > _LISTED else "")
        hint = f"did you mean {close[0]!r}?" if close else f"it has {listed}"
        raise ValueError(f"the model has no class {name!r}; {hint}")
    return ids


def floats(array: npt.NDArray[np.float32]) -> list[Any]:
    """Return nested lists of the shortest decimals that name the same float32.

    ``tolist`` alone widens to float64 and gives 0.8999999761581421 for 0.9.
    """
    return array.astype(np.float32).astype(np.str_).astype(np.float64).tolist()  # type: ignore[no-any-return]


def upright(
    found: DetectedObjects,
    xyxy: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_] | None = None,
    data: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> sv.Detections:
    """Return objects as supervision's detections, with upright boxes and the names of their classes.

    Raises:
        ImportError: The extra ``draw`` is not installed.
    """
    with extra("draw"):
        import supervision as sv
    return sv.Detections(
        xyxy=xyxy,
        mask=mask,
        confidence=found.confidence,
        class_id=found.class_id,
        tracker_id=found.tracker_id,
        data={"class_name": found.class_name, **(data or {})},
    )


Index = int | slice | Sequence[int] | Sequence[bool] | npt.NDArray[np.bool_] | npt.NDArray[np.integer[Any]]

FREE = -1
"""A length that the data determines."""


class Row(NamedTuple):
    """Data type and shape of a field for each object."""

    dtype: npt.DTypeLike
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DetectedObjects(ABC):
    """Objects found in one image, best first: parallel arrays with one row per object.

    An index selects objects and gives a result of the same kind: ``found[0]``, ``found[:5]``,
    ``found[found.confidence > 0.5]``, ``found[found.class_name == "person"]``. Iteration gives results of one
    object each. Arrays that a client returns are read-only views of the response.

    Attributes:
        confidence: ``(n,)`` float32, 0 to 1.
        class_id: ``(n,)`` int32 indices into ``labels``.
        labels: The model's class names.
        orig_shape: Height and width of the image as displayed, in pixels.
        tracker_id: ``(n,)`` int32, the same for one object in all frames of a video; None without tracking.
        timings: Where the time of the call went; None unless it was asked with ``timings=True``.
    """

    task: ClassVar[Task]
    _rows: ClassVar[Mapping[str, Row]]
    """The fields that a kind of result adds, each with one row per object."""

    confidence: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int32]
    labels: tuple[str, ...]
    orig_shape: tuple[int, int]
    tracker_id: npt.NDArray[np.int32] | None = None
    timings: Timings | None = None

    def __post_init__(self) -> None:
        n = len(self.confidence)
        if self.tracker_id is not None and self.tracker_id.shape != (n,):
            raise ValueError(f"tracker_id: expected shape ({n},), got {self.tracker_id.shape}")
        for name, row in self._all_rows().items():
            expected, actual = (n, *row.shape), getattr(self, name).shape
            if expected == actual:
                continue
            if len(actual) != len(expected) or any(w not in (FREE, g) for w, g in zip(expected, actual, strict=True)):
                raise ValueError(f"{name}: expected shape {expected} (-1: any), got {actual}")

    @classmethod
    def empty(cls, *, labels: tuple[str, ...] = (), orig_shape: tuple[int, int] = (0, 0)) -> Self:
        """Return a result without objects."""
        rows: dict[str, Any] = {
            name: np.empty((0, *(max(0, n) for n in row.shape)), row.dtype) for name, row in cls._all_rows().items()
        }
        return cls(labels=labels, orig_shape=orig_shape, **rows)

    def __len__(self) -> int:
        return len(self.confidence)

    def __getitem__(self, index: Index) -> Self:
        rows = [int(index)] if isinstance(index, int | np.integer) else index
        tracker_id = None if self.tracker_id is None else self.tracker_id[rows]
        return replace(self, tracker_id=tracker_id, **{name: getattr(self, name)[rows] for name in self._all_rows()})

    def __iter__(self) -> Iterator[Self]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}>"

    @property
    def class_name(self) -> npt.NDArray[np.str_]:
        """``(n,)`` names of the objects' classes."""
        return np.array(self.labels, np.str_)[self.class_id] if len(self) else np.empty(0, np.str_)

    def only(self, *names: str) -> Self:
        """Keep the objects of the classes with these names.

        Raises:
            ValueError: The model has no class of that name.
        """
        return self[np.isin(self.class_id, [number for name in names for number in ids_of(name, self.labels)])]

    def summary(self) -> str:
        """Return the number of objects by class as text: ``4 person, 1 bus``."""
        counts = Counter(self.class_name.tolist()).most_common()
        return ", ".join(f"{count} {name}" for name, count in counts) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: ``task``, ``orig_shape``, a list of ``objects``, and any ``timings``."""
        columns = {
            "class_id": self.class_id.tolist(),
            "class_name": self.class_name.tolist(),
            "confidence": floats(self.confidence),
            **({} if self.tracker_id is None else {"tracker_id": self.tracker_id.tolist()}),
            **self._geometry(),
        }
        return {
            "task": self.task.value,
            "orig_shape": list(self.orig_shape),
            "objects": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
            **({} if self.timings is None else {"timings": self.timings.to_dict()}),
        }

    def to_coco(self, image_id: int, *, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Return COCO results, one for each object, as ``loadRes`` of pycocotools takes them.

        Args:
            image_id: The image's id in the annotations.
            category_ids: The annotations' id for each class, by class id; `COCO_CATEGORY_IDS` for models that
                were trained on COCO. None takes the class ids themselves.
        """
        ids = self.class_id if category_ids is None else np.array(category_ids)[self.class_id]
        x1, y1, x2, y2 = self.enclosing().T
        columns = {
            "category_id": ids.tolist(),
            "bbox": floats(np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)),
            "score": floats(self.confidence),
            **self._coco_geometry(),
        }
        rows = zip(*columns.values(), strict=True)
        return [{"image_id": image_id, **dict(zip(columns, row, strict=True))} for row in rows]

    @classmethod
    def _all_rows(cls) -> dict[str, Row]:
        return {"confidence": Row(np.float32), "class_id": Row(np.int32), **cls._rows}

    @abstractmethod
    def enclosing(self) -> npt.NDArray[np.float32]:
        """Return ``(n, 4)`` upright boxes around the objects, x1, y1, x2, y2; they may reach beyond the image."""

    @abstractmethod
    def _geometry(self) -> dict[str, list[Any]]:
        """Return the geometry for `to_dict`: a list with one value per object, by name."""

    def _coco_geometry(self) -> dict[str, list[Any]]:
        """Return the geometry for `to_coco` beside the box: a list with one value per object, by name."""
        return {}
