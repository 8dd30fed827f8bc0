# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from yolov8_loadtest.compare.perf_analyzer import (
    Reading,
    Row,
    find_perf_analyzer,
    read_table,
    run_perf_analyzer,
    write_input,
)
from yolov8_loadtest.errors import LoadTestError, PreparationError

TABLE = (
    "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p99 latency\n4,12.5,100,310000,320000,400500\n"
)


def reading(per_s: float, p50_ms: float) -> Reading:
    return Reading(per_s=per_s, p50_ms=p50_ms, p90_ms=1.5 * p50_ms, p99_ms=2 * p50_ms)


def test_its_microseconds_become_milliseconds() -> None:
    assert read_table(TABLE) == Reading(per_s=12.5, p50_ms=310.0, p90_ms=320.0, p99_ms=400.5)


def test_another_table_is_an_error() -> None:
    with pytest.raises(LoadTestError, match="not as expected"):
        read_table(TABLE.replace("p50 latency", "median"))


def test_the_image_travels_as_it_is(tmp_path: Path) -> None:
    write_input(b"\xff\xd8jpeg", tmp_path / "in.json")

    (request,) = json.loads((tmp_path / "in.json").read_text())["data"]
    assert request["image"]["shape"] == [6]
    assert base64.b64decode(request["image"]["b64"]) == b"\xff\xd8jpeg"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(PreparationError, match="PERF_ANALYZER"):
        find_perf_analyzer(None, {"PERF_ANALYZER": "/no/such/program"})


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    program = tmp_path / "perf_analyzer"
    program.write_text("#!/bin/sh\necho 'failed to connect' >&2\nexit 99\n")
    program.chmod(0o755)

    with pytest.raises(LoadTestError, match="ended with code 99: failed to connect"):
        run_perf_analyzer(
            program, url="h:1", model="m", requests=tmp_path, in_flight=1, seconds=1, table=tmp_path / "t.csv"
        )


def test_a_row_names_the_ratios_that_are_off() -> None:
    ours, theirs = [reading(100, 20), reading(95, 23)], [reading(100, 20), reading(100, 20)]
    row = Row(model="m", processes=1, in_flight=4, ours=ours, theirs=theirs)

    assert row.throughput_ratio == pytest.approx(0.975)
    assert row.p50_ratio == pytest.approx(1.075)
    assert row.misses(0.10) == []
    assert row.misses(0.05) == ["m, 4 in flight: p50 is 1.075 of perf_analyzer's"]
