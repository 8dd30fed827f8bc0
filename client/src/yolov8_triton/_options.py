# SPDX-License-Identifier: Apache-2.0
"""The options of calls, and the request parameters made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Literal, TypedDict

import numpy as np

from yolov8_contract.errors import InvalidParameterError
from yolov8_contract.parameters import MAX_PARAMETERS_CHARACTERS, NAMES, TIMINGS
from yolov8_contract.served_model import ServedModel
from yolov8_triton._images import Channels
from yolov8_triton._results.objects import ids_of


class PredictOptions(TypedDict, total=False):
    """Request parameters of calls that find objects, with Ultralytics' names.

    The deployment sets the defaults of those that are left out; an export's own are in brackets.

    Keys:
        conf: Objects need a score strictly above it, 0 to 1 (0.25).
        iou: Largest overlap of two objects of a class; the one with the lower score is dropped beyond it, 0 to 1 (0.7).
        max_det: Largest number of objects; the best ones are kept (300).
        classes: Ids or names of the classes to find, or a single one (all).
        agnostic: Whether objects of different classes suppress each other (False).
        slice: Side in pixels of the tiles into which the server cuts the image, for small objects in large images; for
            detect, segment and obb, on deployments that allow it. 0 is the whole image (0).
        slice_overlap: Share of a tile by which neighbours overlap, 0 to 0.9; objects up to that size are whole in one
            tile (0.2).
        slice_merge: How objects of several tiles become one: ``nmm``, the union of their boxes and masks, or ``nms``,
            the one with the highest score (nmm).
    """

    conf: float | None
    iou: float | None
    max_det: int | None
    classes: int | str | Iterable[int | str] | None
    agnostic: bool | None
    slice: int | None
    slice_overlap: float | None
    slice_merge: Literal["nmm", "nms"] | None


class CallOptions(TypedDict, total=False):
    """Options of every call.

    Keys:
        channels: Order of an array's channels; ignored for images of other kinds.
        timeout_s: Time that the call may take, in place of the client's own.
        priority: Level at which the server queues the request, 1 for the one served first; the deployment sets the
            default, and needs levels (``--priority-levels`` of export).
        timings: Whether the result says where the time of the call went, in ``timings``; the model needs ``--timings``
            at its export.
    """

    channels: Channels | None
    timeout_s: float | None
    priority: int | None
    timings: bool | None


class PredictCallOptions(PredictOptions, CallOptions, total=False):
    """Options of a call that finds objects: its request parameters, and those of every call."""


def request_parameters(options: Mapping[str, Any], model: ServedModel) -> dict[str, bool | int | float | str]:
    """Return the request parameters among a call's options, and the priority, which Triton reads.

    Raises:
        TypeError: A name is not one of `PredictCallOptions`.
        InvalidParameterError: A value is neither a number nor a bool, a class is not one of the model's, or the model
            has no such level of priority.
    """
    known = dict.fromkeys((*NAMES, *CallOptions.__annotations__))
    for name in options.keys() - known.keys():
        raise TypeError(f"unexpected keyword argument {name!r}; options are {', '.join(known)}")
    given = {name: options[name] for name in NAMES if name != TIMINGS and options.get(name) is not None}
    parameters = {
        name: _class_ids(value, model.labels) if name == "classes" else _scalar(name, value)
        for name, value in given.items()
    }
    if options.get("priority") is not None:
        parameters["priority"] = checked_priority(options["priority"], model)
    if _asks_for_times(options.get(TIMINGS), model):
        parameters[TIMINGS] = True
    return parameters


def _asks_for_times(timings: Any, model: ServedModel) -> bool:
    """Tell whether timings are asked for; a server of an older export would ignore the question.

    Raises:
        InvalidParameterError: The model does not measure times, or the value is not a bool.
    """
    if not isinstance(timings, bool | None):
        raise InvalidParameterError(f"'timings' must be True or False, got {timings!r}")
    if timings and not model.timings:
        raise InvalidParameterError(
            "'timings': the model does not measure times; leave it out, or export the model again with --timings"
        )
    return bool(timings)


def checked_priority(priority: Any, model: ServedModel) -> int:
    """Return a request's priority; Triton would queue one that the model doesn't have at the default level.

    Raises:
        InvalidParameterError: The model has no such level, or none at all.
    """
    plain = priority.item() if isinstance(priority, np.generic) else priority
    if model.priority_levels == 0:
        raise InvalidParameterError(
            f"'priority': the model has no priority levels, got {priority!r}; leave it out, or export the model with "
            "--priority-levels"
        )
    if type(plain) is not int or not 1 <= plain <= model.priority_levels:
        raise InvalidParameterError(
            f"'priority' must be a whole number from 1 (served first) to {model.priority_levels}, got {priority!r}"
        )
    return plain


def _scalar(name: str, value: Any) -> bool | int | float | str:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, bool | int | float | str):
        raise InvalidParameterError(f"{name!r} must be a number, a bool or a text, got {value!r}")
    if isinstance(plain, int) and plain.bit_length() > _MOST_BITS:
        raise InvalidParameterError(f"{name!r} must fit into 64 bits, got a number of {plain.bit_length()}")
    return plain


_MOST_BITS = 63
"""Those of the protocol's integers without their sign."""


def _class_ids(classes: Any, labels: tuple[str, ...]) -> str:
    try:
        listed = (
            [classes] if isinstance(classes, int | str | np.integer | bytes) else islice(classes, _MOST_CLASSES + 1)
        )
        ids = [number for one in listed for number in _ids(one, labels)]
    except (TypeError, ValueError) as exc:
        raise InvalidParameterError(f"'classes': {exc}") from exc
    if len(ids) > _MOST_CLASSES:
        raise InvalidParameterError(f"'classes': expected at most {_MOST_CLASSES} ids or names")
    return ",".join(map(str, ids))


_MOST_CLASSES = MAX_PARAMETERS_CHARACTERS // 2
"""More do not fit into a request: each has a digit and a comma."""


def _ids(one: Any, labels: tuple[str, ...]) -> list[int]:
    """Return the ids of a class. Rounded, 1.7 would be another one, as would True and the bytes of a text."""
    if isinstance(one, str):
        return ids_of(one, labels)
    if isinstance(one, bool) or not isinstance(one, int | np.integer):
        raise TypeError(f"expected ids or names of classes, got {one!r}")
    return [int(one)]
