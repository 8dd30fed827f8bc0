# SPDX-License-Identifier: Apache-2.0
"""What becomes of an answer, and which answers are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.fakes import answers
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract import rle
from yolov8_contract.task import Task
from yolov8_triton import ContractMismatchError

FINDERS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]


@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("task", FINDERS, ids=lambda task: task.value)
def test_every_object_found_is_returned(serve: Serve, connect: Connect, task: Task, count: int) -> None:
    client = connect(serve(task, count=count))

    found = getattr(client, task.value)(b"an image")

    sent = answers.arrays(task, count)
    assert len(found) == count
    assert found.task is task
    assert found.labels == answers.LABELS
    assert found.orig_shape == (answers.HEIGHT, answers.WIDTH)
    np.testing.assert_array_equal(found.confidence, sent["detection_scores"][0])
    np.testing.assert_array_equal(found.class_id, sent["detection_classes"][0])


@pytest.mark.parametrize(
    ("task", "field", "tensor"),
    [
        pytest.param(Task.DETECT, "xyxy", "detection_boxes", id="detect"),
        pytest.param(Task.SEGMENT, "rle", "detection_masks", id="segment"),
        pytest.param(Task.POSE, "keypoints", "detection_keypoints", id="pose"),
        pytest.param(Task.OBB, "xywhr", "detection_boxes", id="obb"),
        pytest.param(Task.CLASSIFY, "scores", "class_scores", id="classify"),
    ],
)
def test_each_task_has_its_own_arrays(serve: Serve, connect: Connect, task: Task, field: str, tensor: str) -> None:
    result = getattr(connect(serve(task)), task.value)(b"an image")

    np.testing.assert_array_equal(getattr(result, field), answers.arrays(task)[tensor][0])


def floats(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


BROKEN: dict[str, tuple[Task, str, Any, str]] = {
    "missing": (Task.DETECT, "detection_scores", None, "FP32 [1, -1] (-1: any), got none"),
    "wrong-type": (
        Task.DETECT,
        "detection_boxes",
        np.zeros((1, 2, 4)),
        "FP32 [1, -1, 4] (-1: any), got FP64 [1, 2, 4]",
    ),
    "wrong-shape": (Task.DETECT, "detection_boxes", floats(1, 2, 5), "FP32 [1, -1, 4] (-1: any), got FP32 [1, 2, 5]"),
    "no-batch-axis": (Task.DETECT, "detection_boxes", floats(2, 4), "FP32 [1, -1, 4] (-1: any), got FP32 [2, 4]"),
    "rows-differ": (Task.DETECT, "detection_boxes", floats(1, 3, 4), "2 rows (num_detections), got 3"),
    "class-without-label": (Task.DETECT, "detection_classes", np.int32([[0, 3]]), "ids from 0 to 2, got 0 to 3"),
    "negative-class": (Task.DETECT, "detection_classes", np.int32([[-1, 0]]), "ids from 0 to 2, got -1 to 0"),
    "no-masks": (Task.SEGMENT, "detection_masks", None, "BYTES [1, -1] (-1: any), got none"),
    "other-keypoints": (
        Task.POSE,
        "detection_keypoints",
        floats(1, 2, 17, 2),
        "FP32 [1, -1, 17, 3] (-1: any), got FP32 [1, 2, 17, 2]",
    ),
    "upright-boxes": (Task.OBB, "detection_boxes", floats(1, 2, 4), "FP32 [1, -1, 5] (-1: any), got FP32 [1, 2, 4]"),
    "other-classes": (Task.CLASSIFY, "class_scores", floats(1, 4), "FP32 [1, 3] (-1: any), got FP32 [1, 4]"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_breaks_the_contract_says_where_and_how(serve: Serve, connect: Connect, case: str) -> None:
    task, name, array, problem = BROKEN[case]
    sent = answers.arrays(task) | {name: array}
    fake = serve(task, lambda _: {key: value for key, value in sent.items() if value is not None})

    with pytest.raises(ContractMismatchError) as caught:
        getattr(connect(fake), task.value)(b"an image")

    assert f"model 'yolov8n' at {fake.url}: output '{name}': expected {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("task", "output"),
    [pytest.param(Task.DETECT, 1, id="numbers"), pytest.param(Task.SEGMENT, 4, id="strings")],
)
def test_bytes_that_do_not_fill_their_shape_break_the_contract(
    serve: Serve, connect: Connect, task: Task, output: int
) -> None:
    def cut(reply: service_pb2.ModelInferResponse) -> None:
        reply.raw_output_contents[output] = reply.raw_output_contents[output][:-4]

    fake = serve(task)
    fake.damage = cut

    with pytest.raises(ContractMismatchError, match="bytes that don't fill the shape they came with"):
        getattr(connect(fake), task.value)(b"an image")


def test_answers_larger_than_grpc_s_own_limit_arrive(serve: Serve, connect: Connect) -> None:
    count = 300_000  # 4.8 MB of boxes; gRPC stops at 4 unless told otherwise
    client = connect(serve(count=count), channel_args=[("grpc.enable_retries", 0)])

    assert len(client.detect(b"an image")) == count


def changed(name: str, index: Any, value: float) -> Callable[[answers.Arrays], answers.Arrays]:
    def change(sent: answers.Arrays) -> answers.Arrays:
        array = sent[name].copy()
        array[index] = value
        return {**sent, name: array}

    return change


def masks_of(*texts: bytes) -> Callable[[answers.Arrays], answers.Arrays]:
    array = np.empty((1, len(texts)), np.object_)
    array[0] = texts
    return lambda sent: sent | {"detection_masks": array}


WHOLE = rle.encode([np.array([0, answers.HEIGHT * answers.WIDTH])])[0]
OTHER_SIZE = rle.encode([np.array([0, answers.HEIGHT * answers.WIDTH + 1])])[0]
NEGATIVE = rle.encode([np.array([10, 20, -5, answers.HEIGHT * answers.WIDTH - 25])])[0]
NUMBERS = (np.nan, np.inf, -np.inf)
WRONG_SCORES = (*NUMBERS, -0.1, 1.1, 90.0)


@pytest.mark.parametrize(
    ("task", "tensor", "index", "values", "message"),
    [
        *(
            pytest.param(
                task, "detection_scores", (0, 1), WRONG_SCORES, "'detection_scores': expected numbers from 0 to 1",
                id=f"{task.value}-score",
            )
            for task in FINDERS
        ),
        pytest.param(
            Task.CLASSIFY, "class_scores", (0, 1), WRONG_SCORES, "'class_scores': expected numbers from 0 to 1",
            id="probability",
        ),
        *(
            pytest.param(
                task, "detection_boxes", (0, 1, column), NUMBERS, "'detection_boxes': expected numbers",
                id=f"{task.value}-box-{column}",
            )
            for task in FINDERS
            for column in (0, 3)
        ),
        *(
            pytest.param(
                Task.DETECT, "detection_boxes", (0, 1, column), (-2.0, limit + 2.0, 1e30),
                f"'detection_boxes': expected numbers from 0 to {limit}", id=f"outside-{column}",
            )
            for column, limit in ((0, 100), (1, 60), (2, 100), (3, 60))
        ),
        *(
            pytest.param(
                task, "detection_boxes", (0, 1, 2), (-3.0,), "'detection_boxes': expected",
                id=f"{task.value}-negative-width",
            )
            for task in FINDERS
        ),
        pytest.param(
            Task.DETECT, "detection_boxes", (0, 1, 3), (2.0,),
            "'detection_boxes': expected boxes of at least 0 pixels, got a side of -8", id="bottom-above-top",
        ),
        *(
            pytest.param(
                Task.OBB, "detection_boxes", (0, 1, column), (value,), "'detection_boxes': expected numbers",
                id=f"obb-far-{column}",
            )
            for column, value in ((0, 1e30), (3, 1e30), (4, -1e30))
        ),
        pytest.param(
            Task.POSE, "detection_keypoints", (0, 1, 3, 0), (-1e30,), "'detection_keypoints': expected numbers",
            id="keypoint-far",
        ),
        *(
            pytest.param(
                Task.POSE, "detection_keypoints", (0, 1, 3, column), NUMBERS, "'detection_keypoints': expected",
                id=f"keypoint-{column}",
            )
            for column in (0, 1, 2)
        ),
        pytest.param(
            Task.POSE, "detection_keypoints", (0, 1, 3, 2), (-0.5, 1.5),
            "'detection_keypoints': expected numbers from 0 to 1", id="visibility",
        ),
    ],
)  # fmt: skip
def test_a_number_that_no_image_leads_to_is_refused(
    serve: Serve, connect: Connect, task: Task, tensor: str, index: Any, values: tuple[float, ...], message: str
) -> None:
    replies = iter([changed(tensor, index, value)(answers.arrays(task)) for value in values])
    client = connect(serve(task, lambda _: next(replies)))

    for value in values:
        with pytest.raises(ContractMismatchError) as caught:
            getattr(client, task.value)(b"an image")
        assert message in str(caught.value), value


@pytest.mark.parametrize("task", [Task.DETECT, Task.CLASSIFY], ids=lambda task: task.value)
def test_a_size_that_no_image_has_is_refused(serve: Serve, connect: Connect, task: Task) -> None:
    shapes = [(0, -5), (0, 10), (10, 0), (-60, -100), (2**31 - 1, 2**31 - 1)]
    replies = iter([{**answers.arrays(task), "orig_shape": np.array([shape], np.int32)} for shape in shapes])
    client = connect(serve(task, lambda _: next(replies)))

    for height, width in shapes:
        text = re.escape(f"'orig_shape': expected height and width of an image, got {height} x {width}")
        with pytest.raises(ContractMismatchError, match=text):
            getattr(client, task.value)(b"an image")


def test_another_number_of_objects_than_rows_is_refused(serve: Serve, connect: Connect) -> None:
    counts = [-1, -(2**31), 1, 3, 2**31 - 1]
    replies = iter([changed("num_detections", (0, 0), count)(answers.arrays(Task.DETECT)) for count in counts])
    client = connect(serve(Task.DETECT, lambda _: next(replies)))

    for count in counts:
        text = re.escape(f"expected {count} rows (num_detections), got 2")
        with pytest.raises(ContractMismatchError, match=text):
            client.detect(b"an image")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param((WHOLE, b""), "'detection_masks': run-length string: damaged", id="empty"),
        pytest.param((b"", b""), "run-length string: damaged", id="all-empty"),
        pytest.param((WHOLE, b"\xff\xfe"), "run-length string: damaged", id="no-ascii"),
        pytest.param((WHOLE, b" 0"), "run-length string: damaged", id="other-letters"),
        pytest.param((WHOLE[:-1], WHOLE), "run-length string: damaged", id="cut"),
        pytest.param((WHOLE, b"o" * 8 + b"0"), "more than 7 characters", id="endless-count"),
        pytest.param((WHOLE, OTHER_SIZE), "got", id="other-size"),
        pytest.param((b"0", WHOLE), "expected 60 x 100 = 6000 pixels, got 0", id="no-pixels"),
        pytest.param((WHOLE, NEGATIVE), "a run has a negative length", id="negative-run"),
    ],
)
def test_a_mask_that_no_image_leads_to_is_refused(
    serve: Serve, connect: Connect, texts: tuple[bytes, bytes], message: str
) -> None:
    fake = serve(Task.SEGMENT, lambda _: masks_of(*texts)(answers.arrays(Task.SEGMENT)))

    with pytest.raises(ContractMismatchError) as caught:
        connect(fake).segment(b"an image")

    assert message in str(caught.value)


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_values_at_the_limits_are_answers(serve: Serve, connect: Connect, task: Task) -> None:
    sent = answers.arrays(task)
    if task is Task.CLASSIFY:
        sent["class_scores"] = np.array([[0, 1, 0]], np.float32)
    else:
        sent["detection_scores"] = np.array([[1, 0]], np.float32)
    if task in (Task.DETECT, Task.SEGMENT, Task.POSE):
        sent["detection_boxes"][0] = [0, 0, answers.WIDTH, answers.HEIGHT]

    assert len(getattr(connect(serve(task, lambda _: sent)), task.value)(b"an image"))


@pytest.mark.parametrize(
    ("output", "shape"),
    [
        pytest.param(1, [1, -2, 4], id="negative-rows"),
        pytest.param(1, [1, -1, 4], id="unknown-rows"),
        pytest.param(1, [-1, 2, 4], id="negative-batch"),
        pytest.param(1, [1, 2**62, 4], id="overflow"),
        pytest.param(1, [1, 2, -4], id="negative-columns"),
        pytest.param(0, [1, -1], id="negative-count"),
        pytest.param(1, [], id="no-axes"),
    ],
)
def test_a_shape_that_no_tensor_has_is_refused(serve: Serve, connect: Connect, output: int, shape: list[int]) -> None:
    def reshape(reply: service_pb2.ModelInferResponse) -> None:
        reply.outputs[output].shape[:] = shape

    fake = serve()
    fake.damage = reshape

    with pytest.raises(ContractMismatchError, match="expected"):
        connect(fake).detect(b"an image")


def twice(reply: service_pb2.ModelInferResponse) -> None:
    reply.outputs.append(reply.outputs[2])
    reply.raw_output_contents.append(reply.raw_output_contents[2])


def one_content_less(reply: service_pb2.ModelInferResponse) -> None:
    reply.raw_output_contents.pop()


def other_type(reply: service_pb2.ModelInferResponse) -> None:
    reply.outputs[3].datatype = "UINT32"


@pytest.mark.parametrize("damage", [twice, one_content_less, other_type], ids=lambda damage: damage.__name__)
def test_outputs_that_contradict_themselves_are_refused(serve: Serve, connect: Connect, damage: Any) -> None:
    fake = serve()
    fake.damage = damage

    with pytest.raises(ContractMismatchError):
        connect(fake).detect(b"an image")


def test_a_signalling_nan_is_refused_without_a_warning(serve: Serve, connect: Connect) -> None:
    sent = answers.arrays(Task.DETECT)
    sent["detection_scores"].view(np.uint32)[0, 0] = 0x7F800001

    with pytest.raises(ContractMismatchError, match="'detection_scores': expected numbers from 0 to 1, got nan"):
        connect(serve(Task.DETECT, lambda _: sent)).detect(b"an image")
