# SPDX-License-Identifier: Apache-2.0
"""Define names, types and shapes of the inputs and outputs of every model, for each task.

    ensemble          image → everything that a client reads
    composing models  image → preprocess → images, orig_shape → network → output0 (, output1) → postprocess

With DALI, a check model comes first: image → check → checked_image → preprocess.

Classification has no postprocess model; the answer is the network's probabilities.
"""

from __future__ import annotations

from . import timings
from .errors import ConfigError
from .served_model import ServedModel
from .task import Task
from .tensors import DYNAMIC, DataType, Signature, TensorSpec

Head = tuple[tuple[int, ...], ...]
"""The shapes of a network's outputs without the batch axis, such as ``((116, 8400), (32, 160, 160))``.

The first output of an ``end2end`` network has a row for each object: ``((300, 38), (32, 160, 160))``.
"""

IMAGE = TensorSpec("image", DataType.UINT8, (DYNAMIC,))
"""One encoded image, the bytes of a file."""
CHECKED_IMAGE = TensorSpec("checked_image", DataType.UINT8, (DYNAMIC,))
"""The bytes of an image whose header and tables the check model has accepted."""
ORIG_SHAPE = TensorSpec("orig_shape", DataType.INT32, (2,))
"""The height and width of the image as displayed (EXIF orientation applied), in pixels."""
NUM_DETECTIONS = TensorSpec("num_detections", DataType.INT32, (1,))
BOXES = TensorSpec("detection_boxes", DataType.FP32, (DYNAMIC, 4))
"""x1, y1, x2, y2 in pixels of the image as displayed, clipped to it."""
ROTATED_BOXES = TensorSpec("detection_boxes", DataType.FP32, (DYNAMIC, 5))
"""Centre x, centre y, width, height in pixels of the image as displayed; rotation in radians."""
SCORES = TensorSpec("detection_scores", DataType.FP32, (DYNAMIC,))
CLASSES = TensorSpec("detection_classes", DataType.INT32, (DYNAMIC,))
MASKS = TensorSpec("detection_masks", DataType.BYTES, (DYNAMIC,))
"""One COCO run-length string per object, at the image's own resolution."""
SLICED = "sliced_objects"
"""The objects of all tiles of an image but the first: the box, score, class and tile of each."""
SLICED_MASKS = "sliced_masks"
"""Their masks, a run-length string at the resolution of the tile for each."""
ROTATED = 5
"""The values of a rotated box."""
CLASS_SCORES = "class_scores"
TIMINGS = TensorSpec("timings", DataType.FP64, (len(timings.NAMES),))
"""The times of `timings.NAMES`, or zeros if the request does not ask for them."""
KEYPOINTS = "detection_keypoints"


def ensemble(model: ServedModel) -> Signature:
    """Return the ensemble's tensors, which clients send and read."""
    if model.task is Task.CLASSIFY:
        scores = TensorSpec(CLASS_SCORES, DataType.FP32, (len(model.labels),))
        return Signature((IMAGE,), (scores, ORIG_SHAPE, *timed(model)))
    return Signature((IMAGE,), (*detections(model), ORIG_SHAPE, *timed(model)))


def preprocess(model: ServedModel) -> Signature:
    """Return the preprocess model's tensors: an encoded image becomes the network's input."""
    return Signature((IMAGE,), (_images(model), ORIG_SHAPE, *sliced(model), *timed(model)))


def sliced(model: ServedModel) -> tuple[TensorSpec, ...]:
    """Return what preprocess passes to postprocess of the tiles of an image; nothing where images are not cut."""
    if not model.max_slices:
        return ()
    box = ROTATED_BOXES if model.task is Task.OBB else BOXES
    objects = TensorSpec(SLICED, DataType.FP32, (DYNAMIC, box.shape[-1] + 3))
    masks = (TensorSpec(SLICED_MASKS, DataType.BYTES, (DYNAMIC,)),)
    return (objects, *masks) if model.task is Task.SEGMENT else (objects,)


def timed(model: ServedModel) -> tuple[TensorSpec, ...]:
    """Return what the first composing model passes to postprocess of its times; nothing where none are measured."""
    return (TIMINGS,) if model.timings else ()


def check(model: ServedModel) -> Signature:
    """Return the check model's tensors: it passes the bytes of an accepted image on."""
    return Signature((IMAGE,), (CHECKED_IMAGE, *timed(model)))


def checked_preprocess(model: ServedModel) -> Signature:
    """Return the tensors of a preprocess model that follows a check model."""
    return Signature((CHECKED_IMAGE,), (_images(model), ORIG_SHAPE))


def network(model: ServedModel, head: Head) -> Signature:
    """Return the network's tensors.

    Raises:
        ConfigError: ``head`` does not fit the model's task, classes and keypoints.
    """
    return Signature((_images(model),), _outputs(model, head))


def postprocess(model: ServedModel, head: Head) -> Signature:
    """Return the postprocess model's tensors: the network's outputs become detections; the image's shape is passed on.

    Raises:
        ConfigError: ``head`` does not fit the model's task, classes and keypoints.
    """
    inputs = (*_outputs(model, head), ORIG_SHAPE, *sliced(model), *timed(model))
    return Signature(inputs, (*detections(model), ORIG_SHAPE, *timed(model)))


def detections(model: ServedModel) -> tuple[TensorSpec, ...]:
    """Return the tensors of the detections; they have one row per object, best first."""
    boxes = ROTATED_BOXES if model.task is Task.OBB else BOXES
    found = (NUM_DETECTIONS, boxes, SCORES, CLASSES)
    if model.task is Task.SEGMENT:
        return (*found, MASKS)
    if model.kpt_shape is not None:
        return (*found, TensorSpec(KEYPOINTS, DataType.FP32, (DYNAMIC, *model.kpt_shape)))
    return found


def _images(model: ServedModel) -> TensorSpec:
    if model.network_input == "uint8":
        return TensorSpec("images", DataType.UINT8, (*model.imgsz, 3))
    if model.network_input == "fp32-nhwc":
        return TensorSpec("images", DataType.FP32, (*model.imgsz, 3))
    return TensorSpec("images", DataType.FP32, (3, *model.imgsz))


def _outputs(model: ServedModel, head: Head) -> tuple[TensorSpec, ...]:
    _check_head(model, head)
    return tuple(TensorSpec(f"output{index}", DataType.FP32, shape) for index, shape in enumerate(head))


def _check_head(model: ServedModel, head: Head) -> None:
    """Compare a network's output shapes with those of its task (Ultralytics' ``nn/modules/head.py``)."""
    num_classes, values = len(model.labels), 4 + model.score_rows
    # An end2end network has the axes of the others in the other order.
    first = head[0][::-1] if head and not model.has_nms else head[0] if head else ()
    if model.task is Task.CLASSIFY:
        fits, expected = head == ((num_classes,),), f"[{num_classes}]"
    elif model.task is Task.SEGMENT:
        fits = len(head) == 2 and len(first) == 2 and len(head[1]) == 3
        fits = fits and first[0] == values + head[1][0]
        expected = f"{_axes(model, f'{values} + masks')} and [masks, height, width]"
    else:
        extra = {Task.DETECT: 0, Task.OBB: 1}.get(model.task, 0)
        if model.kpt_shape is not None:
            extra = model.kpt_shape[0] * model.kpt_shape[1]
        values += extra
        fits, expected = len(head) == 1 and len(first) == 2 and first[0] == values, _axes(model, f"{values}")
    if not fits or any(dim < 1 for shape in head for dim in shape):
        raise ConfigError(
            f"a {model.task.value} network of {num_classes} classes with {model.network_output} output has the outputs "
            f"{expected}, got {' and '.join(str(list(shape)) for shape in head) or 'nothing'}"
        )


def _axes(model: ServedModel, values: str) -> str:
    return f"[{values}, anchors]" if model.has_nms else f"[objects, {values}]"
