# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os

import pytest

from yolov8_loadtest.monitor.processes import ResourceSample, Usage, generator_usage, leak_check, server_usage

GONE = 2**22 - 1
"""No process has it: Linux counts up to 4,194,304, and gives the highest out last."""


def samples(memory_mb: list[float], descriptors: list[int] | None = None) -> list[ResourceSample]:
    files = descriptors or [10] * len(memory_mb)
    return [
        ResourceSample(at_s=at, usage={"server": Usage(memory_mb=mb, descriptors=count, cpu_s=at)})
        for at, (mb, count) in enumerate(zip(memory_mb, files, strict=True))
    ]


def test_growth_is_between_the_medians_of_both_ends() -> None:
    (found,) = leak_check(samples([100, 999, 100, *[50] * 24, 110, 1, 110], [5] * 15 + [9] * 15), from_s=0, until_s=29)

    assert found.process == "server"
    assert found.memory_ratio == pytest.approx(0.1)
    assert found.descriptors == 4


def test_what_lies_outside_of_the_stretch_does_not_count() -> None:
    (found,) = leak_check(samples([1] * 5 + [100] * 20 + [900] * 5), from_s=5, until_s=24)

    assert found.memory_ratio == 0


def test_too_few_samples_tell_nothing() -> None:
    assert leak_check(samples([1] * 9), from_s=0, until_s=99) == []


def test_a_process_that_was_not_there_all_the_time_is_left_out() -> None:
    listed = samples([100] * 20)
    listed[-1].usage["late"] = Usage(memory_mb=1, descriptors=1, cpu_s=0)

    assert [found.process for found in leak_check(listed, from_s=0, until_s=99)] == ["server"]


def test_a_process_without_memory_has_no_ratio() -> None:
    (found,) = leak_check(samples([0] * 20), from_s=0, until_s=99)

    assert math.isnan(found.memory_ratio)


def test_the_usage_of_this_process_is_read() -> None:
    usage = generator_usage(os.getpid())["generator"]

    assert usage.memory_mb > 1
    assert usage.descriptors >= 3
    assert usage.cpu_s > 0


def test_a_server_that_is_gone_uses_nothing() -> None:
    assert server_usage(GONE) == {}
