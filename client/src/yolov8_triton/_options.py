# SPDX-License-Identifier: Apache-2.0
"""What a caller may ask for, and the parameters of the request that asks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np

from yolov8_contract.errors import InvalidParameterError
from yolov8_contract.parameters import NAMES
from yolov8_triton._images import Channels
from yolov8_triton._results.objects import ids_of


class Options(TypedDict, total=False):
    """What every call takes.

    Keys:
        channels: The order of an array's channels; images of other kinds know theirs.
        timeout_s: How long the call may take, in place of the client's own.
    """

    channels: Channels | None
    timeout_s: float | None


class PredictOptions(Options, total=False):
    """What calls take that find objects: Ultralytics' names. What is left out is as the deployment has it.

    Keys:
        conf: Objects need a score strictly above it, 0 to 1 (0.25 unless deployed otherwise).
        iou: Of two objects of a class that overlap more, the worse is dropped, 0 to 1 (0.7).
        max_det: At most so many objects, the best ones (300).
        classes: Only objects of these classes: ids or names, or one of either (all).
        agnostic: Let objects of different classes suppress each other (False).
    """

    conf: float | None
    iou: float | None
    max_det: int | None
    classes: int | str | Iterable[int | str] | None
    agnostic: bool | None


def request_parameters(options: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, bool | int | float | str]:
    """Return the request's parameters: the thresholds that were given.

    Raises:
        TypeError: A name is neither one of `Options` nor of `PredictOptions`.
        InvalidParameterError: A value is of no type that travels, or a class is not one of ``labels``.
    """
    for name in options.keys() - {*NAMES, *Options.__annotations__}:
        raise TypeError(f"unexpected keyword argument {name!r}; thresholds are {', '.join(NAMES)}")
    given = {name: options[name] for name in NAMES if options.get(name) is not None}
    return {
        name: _class_ids(value, labels) if name == "classes" else _scalar(name, value) for name, value in given.items()
    }


def _scalar(name: str, value: Any) -> bool | int | float | str:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, bool | int | float | str):
        raise InvalidParameterError(f"{name!r} must be a number or a truth value, got {value!r}")
    return plain


def _class_ids(classes: Any, labels: tuple[str, ...]) -> str:
    try:
        listed = [classes] if isinstance(classes, int | str | np.integer) else list(classes)
        ids = [number for one in listed for number in (ids_of(one, labels) if isinstance(one, str) else [int(one)])]
    except (TypeError, ValueError) as exc:
        raise InvalidParameterError(f"'classes': {exc}") from exc
    return ",".join(map(str, ids))
