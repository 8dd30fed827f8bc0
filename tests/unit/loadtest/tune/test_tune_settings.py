# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from yolov8_loadtest.tune.settings import Outcome, Setting, best, settings, soonest


def setting(instances: int, threads: int) -> Setting:
    return Setting(instances=instances, threads=threads, queue_delay_us=0, max_batch_size=8)


def outcome(highest: float, p50_ms: float) -> Outcome:
    return Outcome(
        throughput={1: 1.0, 4: highest},
        p50_ms={1: p50_ms, 4: 500},
        p99_ms={1: p50_ms, 4: 900},
        cpu_s=0.1,
        memory_mb=500,
    )


def test_no_setting_asks_for_more_than_a_thread_beyond_the_cores_or_waits_for_batches_of_one() -> None:
    found = settings(cores=2, instances=[1, 2, 3, 4], threads=[1, 2], queue_delay_us=[0, 500], max_batch_size=[1, 8])

    assert {(one.instances, one.threads) for one in found} == {(1, 1), (2, 1), (3, 1), (1, 2)}
    assert not any(one.max_batch_size == 1 and one.queue_delay_us for one in found)
    assert len(found) == len(set(found)) == 4 * 3


def test_of_those_that_are_nearly_as_fast_the_one_that_answers_soonest_is_chosen() -> None:
    outcomes = {
        setting(2, 1): outcome(16.0, 100),
        setting(1, 2): outcome(15.8, 70),
        setting(1, 1): outcome(9.0, 60),
    }

    assert best(outcomes) == setting(1, 2)
    assert soonest(outcomes) == setting(1, 1)


def test_flags_are_those_of_export() -> None:
    assert " ".join(setting(2, 1).flags()) == "--instances 2 --threads 1 --queue-delay-us 0 --max-batch-size 8"
