# SPDX-License-Identifier: Apache-2.0
"""The attacks: each takes a server and a number of tries, and returns how many it made."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from tests.drills.subject import Subject, pause

IN_FLIGHT = 64
STEADY_S = 5.5
"""A server that has run for 5 s is started again at once, so a drill lets it run for a little longer."""
OVERLOAD_S = 10.0
SEED = 20261128


def cancellations(subject: Subject, count: int) -> int:
    """Cancel 64 calls at once, again and again, at once or a moment after they were sent."""

    def cancel(calls: list[Any], number: int) -> None:
        time.sleep(random.uniform(0, 0.02) if number % 2 else 0)
        for call in calls:
            call.cancel()

    return _in_rounds(subject, count, cancel)


def closed_channels(subject: Subject, count: int) -> int:
    """Close connections on which 64 requests are in flight."""
    return _in_rounds(subject, count, lambda *_: time.sleep(random.uniform(0, 0.01)))


def expired_deadlines(subject: Subject, count: int) -> int:
    """Send requests whose deadlines expire on their way."""

    def wait(calls: list[Any], _: int) -> None:
        for call in calls:
            call.exception()

    return _in_rounds(subject, count, wait, lambda: random.uniform(0.001, 0.1))


def fuzzed_images(subject: Subject, count: int) -> int:
    """Send images with changed, missing and additional bytes, 16 at a time."""
    chances = np.random.default_rng(SEED)

    def send(number: int) -> None:
        data = bytearray(subject.image)
        for place in chances.integers(0, len(data), size=1 + number % 8):
            data[place] = int(chances.integers(256))
        if number % 3 == 0:
            del data[int(chances.integers(len(data))) :]
        if number % 5 == 0:
            data[2:2] = chances.bytes(int(chances.integers(64)))
        _infer(subject, subject.request(image=bytes(data) or b"x"))

    return _in_parallel(send, count)


def odd_requests(subject: Subject, count: int) -> int:
    """Send requests with wrong tensors, shapes, types, parameters, outputs and models."""
    return _in_parallel(lambda number: _infer(subject, _odd_request(subject, random.Random(SEED + number))), count)


def http_kills(subject: Subject, count: int) -> int:
    """Send the small HTTP requests that end this release of Triton where inference over HTTP is open."""
    shape = b'{"inputs":[{"name":"image","shape":[1,%d],"datatype":"UINT8","data":[1]}]}'
    bodies = [
        ("Content-Length: %d", shape % 2**62),
        ("Content-Length: %d", shape % 2**33),
        ("Content-Length: %d", b"[" * 150_000),
        ("Transfer-Encoding: chunked", b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n"),
    ]
    for number in range(count):
        header, body = bodies[number % len(bodies)]
        _post(subject, header % len(body) if "%" in header else header, body)
    return count


def large_messages(subject: Subject, count: int) -> int:
    """Send messages of 1 GB, every other one compressed."""
    for number in range(count):
        compression = grpc.Compression.Gzip if number % 2 else None
        _infer(subject, subject.request(image=bytes(1000 << 20)), timeout_s=60, compression=compression)
        subject.wait_until_back()
    return count


def killed_models(subject: Subject, count: int) -> int:
    """Kill the process of a python model, each time another one."""
    return _one_by_one(subject, count, lambda number: os.kill(_pick(subject.stubs(), number), signal.SIGKILL))


def killed_servers(subject: Subject, count: int) -> int:
    """Kill tritonserver."""
    return _one_by_one(subject, count, lambda _: os.kill(subject.pid() or 0, signal.SIGKILL))


def paused_models(subject: Subject, count: int) -> int:
    """Pause the process of a python model for 3 to 12 s."""
    return _one_by_one(subject, count, lambda number: pause([_pick(subject.stubs(), number)], 3 + number % 10))


def paused_trees(subject: Subject, count: int) -> int:
    """Pause the server and its python models for 3 to 12 s, as a suspended machine does; outages count from its end."""

    def pause_all(number: int) -> None:
        subject.suspended = True
        pause([subject.pid() or 0, *subject.stubs()], 3 + number % 10)
        subject.suspended = False

    return _one_by_one(subject, count, pause_all)


def overload(subject: Subject, count: int) -> int:
    """Send three times as many requests as the server answers, for 10 s, without a limit of their wait."""
    made = 0
    for _ in range(count):
        rate = 3 * _capacity_per_s(subject)
        with subject.stub() as stub:
            calls, began = [], time.monotonic()
            while (now := time.monotonic() - began) < OVERLOAD_S:
                while len(calls) < now * rate:
                    calls.append(stub.ModelInfer.future(subject.request(), timeout=2))
                time.sleep(0.005)
            for call in calls:
                call.exception()
        made += len(calls)
    return made


def _in_rounds(
    subject: Subject,
    count: int,
    attack: Callable[[list[Any], int], None],
    timeout_s: Callable[[], float] = lambda: 30.0,
) -> int:
    """Send 64 requests at once over a connection of their own, attack them, and close it; again and again."""
    rounds = count // IN_FLIGHT
    for number in range(rounds):
        with subject.stub() as stub:
            calls = [stub.ModelInfer.future(subject.request(), timeout=timeout_s()) for _ in range(IN_FLIGHT)]
            attack(calls, number)
        _wait_while_away(subject)
    return rounds * IN_FLIGHT


def _capacity_per_s(subject: Subject) -> float:
    def ask(_: int) -> bool:
        return subject.works(10.0)

    with ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        answered = sum(pool.map(ask, range(200)))
    return answered / (time.monotonic() - began)


def _one_by_one(subject: Subject, count: int, attack: Callable[[int], None]) -> int:
    for number in range(count):
        time.sleep(STEADY_S)
        with _load(subject):
            attack(number)
            time.sleep(1.5)  # a broken server must be noticed; until then it may seem to be back
            subject.wait_until_back()
    return count


@contextmanager
def _load(subject: Subject) -> Iterator[None]:
    """Keep eight requests in flight; what becomes of them does not matter."""
    with subject.stub() as stub, ThreadPoolExecutor(8) as pool:
        over = False

        def call() -> None:
            while not over:
                try:
                    stub.ModelInfer(subject.request(), timeout=5)
                except grpc.RpcError:  # noqa: PERF203  (the server is away)
                    time.sleep(0.1)

        for _ in range(8):
            pool.submit(call)
        try:
            yield
        finally:
            over = True


def _wait_while_away(subject: Subject) -> None:
    if not subject.works(10.0):
        subject.wait_until_back()
        time.sleep(STEADY_S)


def _pick(pids: list[int], number: int) -> int:
    return sorted(pids)[number % len(pids)]


def _infer(
    subject: Subject,
    message: pb.ModelInferRequest,
    timeout_s: float = 10.0,
    compression: grpc.Compression | None = None,
) -> None:
    with subject.stub() as stub:
        try:
            stub.ModelInfer(message, timeout=timeout_s, compression=compression)
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.UNAVAILABLE and "queue" not in exc.details():
                subject.wait_until_back()


def _in_parallel(send: Callable[[int], None], count: int) -> int:
    with ThreadPoolExecutor(16) as pool:
        return sum(1 for _ in pool.map(send, range(count)))


def _odd_request(subject: Subject, chance: random.Random) -> pb.ModelInferRequest:
    message = subject.request()
    tensor = message.inputs[0]
    for _ in range(chance.randint(1, 3)):
        chance.choice(
            [
                lambda: setattr(
                    message, "model_name", chance.choice(["", "no", f"{subject.model}_network", "\0", "a" * 9999])
                ),
                lambda: setattr(message, "model_version", chance.choice(["0", "-1", "9" * 40, "x"])),
                lambda: setattr(tensor, "name", chance.choice(["", "images", "output0", "x" * 9999])),
                lambda: setattr(tensor, "datatype", chance.choice(["", "BYTES", "FP32", "BOOL", "nothing"])),
                lambda: tensor.shape.__setitem__(
                    slice(None), [chance.choice([-1, 0, 1, 2**31, 2**62]) for _ in range(chance.randint(0, 9))]
                ),
                lambda: message.raw_input_contents.append(b"more"),
                lambda: message.raw_input_contents.__delitem__(slice(None)),
                lambda: message.inputs.add(name="image", datatype="UINT8", shape=[1, 1]),
                lambda: message.outputs.add(name=chance.choice(["", "orig_shape", "detection_boxes", "nothing"])),
                lambda: setattr(
                    message.parameters[
                        chance.choice(["conf", "classes", "timeout", "priority", "sequence_id", "x" * 999])
                    ],
                    "string_param",
                    chance.choice(["", "nan", "1e999", "[" * 9999, "9" * 4300]),
                ),
                lambda: setattr(
                    message.parameters[chance.choice(["iou", "max_det", "timeout", "correlation_id"])],
                    "int64_param",
                    chance.choice([-(2**63), -1, 2**63 - 1]),
                ),
                lambda: setattr(tensor.parameters["shared_memory_region"], "string_param", "region"),
                lambda: setattr(tensor.parameters["binary_data_size"], "int64_param", chance.choice([-1, 2**62])),
            ]
        )()
    return message


def _post(subject: Subject, header: str, body: bytes) -> None:
    host, _, port = subject.http_url.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST /v2/models/{subject.model}/infer HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.recv(4096)
    except OSError:
        subject.wait_until_back()
