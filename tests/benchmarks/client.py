# SPDX-License-Identifier: Apache-2.0
"""Print what the client costs above bare tritonclient, and what ways of sending cost; fail where a promise is broken.

    python -m tests.benchmarks.client [--rounds 15]

A real server serves a model that does next to nothing. What is compared takes turns in one run, a block of requests
each. Costs are processor time of all threads: neighbours on the machine lengthen them less than time on the wall.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import aio

from tests.benchmarks import machine
from tests.data import shapes
from tests.fakes import tiny_model
from yolov8_server import TritonServer
from yolov8_triton import AsyncClient, Client
from yolov8_triton.low_level import encode_image

BLOCK = 100
IN_FLIGHT = 64
SIZES = {"100 KB": 100_000, "5 MB": 5_000_000}
ABOVE_RAW_MS = 0.2
AIO_RATIO = 0.9
FEWER_BYTES = 10
TENSOR_BYTES = 3 * 640 * 640 * 4
TIMEOUT_S = 60.0

Ask = Callable[[], Any]


def main() -> int:
    """Measure, print, and fail where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each way (default: %(default)s)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        repository = tiny_model.write(Path(folder), instances=2)
        with TritonServer(repository, http=True, allow=["shared-memory"], stop_timeout_s=0) as server:
            kept = [
                report_ways(server, rounds),
                asyncio.run(report_aio(server, rounds)),
                report_bytes(),
            ]
    return 0 if all(kept) else 1


def report_ways(server: TritonServer, rounds: int) -> bool:
    """Print processor time a request of each way, one request at a time; tell whether the client's own is small."""
    kept = True
    print(f"{'one at a time, ms of processor time a request':<48}{'client':>8}{'server':>8}{'above bare':>12}")
    for size, count in SIZES.items():
        block = max(BLOCK * 100_000 // count, 10)
        with ways(server, np.random.default_rng(7).bytes(count)) as asks:
            spent = take_turns(asks, server.pid, rounds, block)
        bare = spent["tritonclient"]
        for name, times in spent.items():
            # The difference is taken within each round, because the machine's other load changes between rounds.
            above = float(np.median(times[:, 0] - bare[:, 0]))
            limit = ABOVE_RAW_MS if (name, size) == ("Client", "100 KB") else None
            missed = limit is not None and above > limit
            kept &= not missed
            promise = "" if limit is None else f"  at most {limit:g}{' MISSED' if missed else ''}"
            client, serving = np.median(times, axis=0)
            print(f"{size + ', ' + name:<48}{client:8.2f}{serving:8.2f}{above:+12.3f}{promise}")
    return kept


@contextmanager
def ways(server: TritonServer, image: bytes) -> Iterator[dict[str, Ask]]:
    """Yield ways to ask about the same bytes."""
    tensor = np.frombuffer(image, np.uint8)[np.newaxis]
    with ExitStack() as stack:
        raw = stack.enter_context(triton.InferenceServerClient(server.grpc_url))
        clients = {
            "Client": Client(server.grpc_url, timeout_s=TIMEOUT_S),
            "Client, shared memory": Client(server.grpc_url, timeout_s=TIMEOUT_S, shared_memory=True),
            "Client, HTTP": Client(f"http://{server.http_url}", timeout_s=TIMEOUT_S),
        }
        asks: dict[str, Ask] = {"tritonclient": lambda: raw.infer(tiny_model.NAME, raw_inputs(tensor))}
        for name, client in clients.items():
            stack.enter_context(client)
            asks[name] = lambda client=client: client.detect(image)
        yield asks


def raw_inputs(tensor: np.ndarray) -> list[triton.InferInput]:
    """Return what tritonclient takes."""
    given = triton.InferInput("image", tensor.shape, "UINT8")
    given.set_data_from_numpy(tensor)
    return [given]


def take_turns(asks: dict[str, Ask], server_pid: int, rounds: int, block: int) -> dict[str, np.ndarray]:
    """Return milliseconds a request of this process and of the server's, one row a round, after one that is not."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
    for _ in range(rounds + 1):
        for name, ask in asks.items():
            here, there = time.process_time(), machine.cpu_seconds(server_pid)
            for _ in range(block):
                ask()
            here, there = time.process_time() - here, machine.cpu_seconds(server_pid) - there
            spent[name].append((here * 1e3 / block, there * 1e3 / block))
    return {name: np.array(times[1:]) for name, times in spent.items()}


async def report_aio(server: TritonServer, rounds: int) -> bool:
    """Print requests a second of both asyncio clients with many in flight; tell whether ours keeps up."""
    image = np.random.default_rng(7).bytes(SIZES["100 KB"])
    tensor = np.frombuffer(image, np.uint8)[np.newaxis]
    async with (
        aio.InferenceServerClient(server.grpc_url) as raw,
        AsyncClient(server.grpc_url, timeout_s=TIMEOUT_S) as client,
    ):
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "tritonclient aio": lambda: raw.infer(tiny_model.NAME, raw_inputs(tensor)),
            "AsyncClient": lambda: client.detect(image),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, ask in ways.items():
                rates[name].append(await rate(ask, 4 * IN_FLIGHT))
    ratio = float(np.median(np.array(rates["AsyncClient"][1:]) / np.array(rates["tritonclient aio"][1:])))
    print(f"\n{f'{IN_FLIGHT} in flight, requests a second':<48}")
    for name, values in rates.items():
        print(f"{name:<48}{np.median(values[1:]):8.0f}")
    missed = ratio < AIO_RATIO
    print(f"{'AsyncClient / tritonclient aio':<48}{ratio:8.2f}  at least {AIO_RATIO:g}{' MISSED' if missed else ''}")
    return not missed


async def rate(ask: Callable[[], Awaitable[Any]], count: int) -> float:
    """Return requests a second, always so many in flight."""
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await ask()

    begin = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    return count / (time.perf_counter() - begin)


def report_bytes() -> bool:
    """Print the bytes of 1080p frames as they travel; tell whether they are few."""
    kept = True
    print(f"\n{'a 1080p frame as JPEG, bytes':<48}{'JPEG':>8}   of its FP32 pixels   of the network's FP32 tensor")
    for name, frame in frames():
        size = len(encode_image(frame, channels="BGR", array_format="jpeg"))
        missed = size * FEWER_BYTES > frame.size * 4
        kept &= not missed
        print(
            f"{name:<48}{size:8}   1 / {frame.size * 4 / size:<14.0f}   1 / {TENSOR_BYTES / size:<10.1f}"
            f"at least {FEWER_BYTES} of its pixels{' MISSED' if missed else ''}"
        )
    return kept


def frames() -> Iterator[tuple[str, Any]]:
    """Yield a drawn frame, which is noisy, and those of photographs."""
    import cv2
    from ultralytics.utils import ASSETS

    yield "drawn shapes", shapes.scene(90_000, "detect", size=(1080, 1920)).image
    for name in ("bus.jpg", "zidane.jpg"):
        photograph = cv2.imread(str(ASSETS / name))
        wide = photograph[: photograph.shape[1] * 9 // 16]
        yield f"photograph {name}", cv2.resize(wide, (1920, 1080))


if __name__ == "__main__":
    sys.exit(main())
