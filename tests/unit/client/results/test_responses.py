# SPDX-License-Identifier: Apache-2.0
"""What becomes of an answer, and which answers are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.fakes import answers
from tests.unit.client.conftest import Connect, Serve
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


def without(name: str) -> Callable[[answers.Arrays], answers.Arrays]:
    return lambda sent: {key: array for key, array in sent.items() if key != name}


def with_array(name: str, array: Any) -> Callable[[answers.Arrays], answers.Arrays]:
    return lambda sent: {**sent, name: array}


@pytest.mark.parametrize(
    ("task", "broken", "message"),
    [
        pytest.param(
            Task.DETECT,
            without("detection_scores"),
            "output 'detection_scores': expected FP32 [1, -1] (-1: any), got none",
            id="missing",
        ),
        pytest.param(
            Task.DETECT,
            with_array("detection_boxes", np.zeros((1, 2, 4), np.float64)),
            "output 'detection_boxes': expected FP32 [1, -1, 4] (-1: any), got FP64 [1, 2, 4]",
            id="wrong-type",
        ),
        pytest.param(
            Task.DETECT,
            with_array("detection_boxes", np.zeros((1, 2, 5), np.float32)),
            "expected FP32 [1, -1, 4] (-1: any), got FP32 [1, 2, 5]",
            id="wrong-shape",
        ),
        pytest.param(
            Task.DETECT,
            with_array("detection_boxes", np.zeros((2, 4), np.float32)),
            "got FP32 [2, 4]",
            id="no-batch-axis",
        ),
        pytest.param(
            Task.DETECT,
            with_array("detection_boxes", np.zeros((1, 3, 4), np.float32)),
            "output 'detection_boxes': expected 2 rows (num_detections), got 3",
            id="rows-differ",
        ),
        pytest.param(
            Task.DETECT,
            with_array("detection_classes", np.array([[0, 3]], np.int32)),
            "output 'detection_classes': expected ids from 0 to 2, got 0 to 3",
            id="class-without-label",
        ),
        pytest.param(
            Task.DETECT,
            with_array("detection_classes", np.array([[-1, 0]], np.int32)),
            "expected ids from 0 to 2, got -1 to 0",
            id="negative-class",
        ),
        pytest.param(
            Task.SEGMENT,
            without("detection_masks"),
            "output 'detection_masks': expected BYTES [1, -1] (-1: any), got none",
            id="no-masks",
        ),
        pytest.param(
            Task.POSE,
            with_array("detection_keypoints", np.zeros((1, 2, 17, 2), np.float32)),
            "output 'detection_keypoints': expected FP32 [1, -1, 17, 3] (-1: any), got FP32 [1, 2, 17, 2]",
            id="other-keypoints",
        ),
        pytest.param(
            Task.OBB,
            with_array("detection_boxes", np.zeros((1, 2, 4), np.float32)),
            "expected FP32 [1, -1, 5] (-1: any), got FP32 [1, 2, 4]",
            id="upright-boxes",
        ),
        pytest.param(
            Task.CLASSIFY,
            with_array("class_scores", np.zeros((1, 4), np.float32)),
            "output 'class_scores': expected FP32 [1, 3] (-1: any), got FP32 [1, 4]",
            id="other-number-of-classes",
        ),
    ],
)
def test_an_answer_that_breaks_the_contract_says_where_and_how(
    serve: Serve, connect: Connect, task: Task, broken: Callable[[answers.Arrays], answers.Arrays], message: str
) -> None:
    fake = serve(task, lambda _: broken(answers.arrays(task)))

    with pytest.raises(ContractMismatchError) as caught:
        getattr(connect(fake), task.value)(b"an image")

    assert message in str(caught.value)
    assert f"model 'yolov8n' at {fake.url}: " in str(caught.value)


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
