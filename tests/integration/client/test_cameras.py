# SPDX-License-Identifier: Apache-2.0
"""Many cameras with a real server, and streams whose server starts again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.clips import MOST, Pixels, numbered
from tests.data import shapes
from tests.fakes.streams import served
from tests.integration.client.test_streams import SCHEMES, slow
from tests.unit.client.cameras.sources import Stalling, Steady, dead
from yolov8_server import TritonServer
from yolov8_triton import Camera, Client, RetryPolicy, hub

pytestmark = pytest.mark.alone

FPS = 20.0
QUICK = RetryPolicy(first_pause_s=0.05, longest_pause_s=0.5)


def endless() -> Iterator[Pixels]:
    return itertools.chain.from_iterable(itertools.repeat(numbered(MOST, (64, 96))))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_stream_whose_server_starts_again_is_found_again(scheme: str) -> None:
    # The stream ends after some frames; its server is then away for a second, and comes back at the same port.
    with served(scheme, lambda: itertools.islice(endless(), 15), fps=FPS) as url:
        port = urlsplit(url).port or 0
        frames = hub(slow, [Camera(name="stream", source=url, stall_s=3)], reconnect=QUICK)
        first = next(frames)
    time.sleep(1)
    with frames, served(scheme, endless, fps=FPS, port=port):
        begin = time.monotonic()
        for frame in frames:
            if frames.statistics()["stream"].reconnects and frame.index > 30:
                break
            assert time.monotonic() - begin < 30
        statistics = frames.statistics()["stream"]

    assert first.index < 15
    assert statistics.reconnects >= 1
    assert statistics.longest_silence_s > 0.5
    assert statistics.state == "live"


def test_cameras_of_a_real_server_have_equal_shares_beside_broken_ones(server: TritonServer) -> None:
    scene = shapes.scene(70_000, "detect", size=(240, 320)).image

    class Scene(Steady):
        def read(self) -> tuple[float, Pixels] | None:
            frame = super().read()
            return None if frame is None else (frame[0], scene.copy())

    stalling = Stalling(5, after=3)
    cameras = {f"camera {n}": Scene(5, 15) for n in range(8)} | {"dead": dead, "stalling": stalling}
    answered: dict[str, int] = dict.fromkeys(cameras, 0)
    with Client(server.grpc_url, model="shapes-detect") as client, hub(client, cameras, reconnect=QUICK) as frames:
        for frame in frames:
            answered[frame.camera] += 1
            assert frame.error is None
            found = frame.camera.startswith("camera") and len(frame.result) > 0
            assert found or frame.camera == "stalling"
            if all(one.state == "ended" for name, one in frames.statistics().items() if name.startswith("camera")):
                break
        states = {name: one.state for name, one in frames.statistics().items()}
        stalling.released.set()

    counts = [count for name, count in answered.items() if name.startswith("camera")]
    assert min(counts) >= 10
    assert sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts)) > 0.95
    assert states["dead"] in ("connecting", "reconnecting")
    assert states["stalling"] == "stale"
