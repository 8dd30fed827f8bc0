# SPDX-License-Identifier: Apache-2.0
"""Test whose frame is sent next, with a clock that the test moves."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov8_triton._cameras.scheduler import RELIEF, Scheduler, Share


def simulated(
    shares: Mapping[str, Share],
    period_s: Mapping[str, float],
    *,
    service_s: float,
    in_flight: int,
    seconds: float = 60.0,
) -> tuple[Counter[str], dict[str, list[float]]]:
    """Return how often each camera was answered, and how old its frames then were, with one server."""
    scheduler = Scheduler(shares, in_flight=in_flight)
    events: list[tuple[float, int, str, str, float]] = []
    newest: dict[str, float] = {}
    answered: Counter[str] = Counter()
    ages: dict[str, list[float]] = {name: [] for name in shares}
    server_free_at, order = 0.0, 0
    for number, name in enumerate(shares):
        heapq.heappush(events, (number * 0.001, number, "frame", name, 0.0))
    while events and events[0][0] < seconds:
        now, _, kind, name, captured_at = heapq.heappop(events)
        if kind == "frame":
            newest[name] = now
            scheduler.arrived(name)
            order += 1
            heapq.heappush(events, (now + period_s[name], 1000 + order, "frame", name, 0.0))
        else:
            scheduler.answered(name)
            answered[name] += 1
            ages[name].append(now - captured_at)
        while (chosen := scheduler.next()) is not None:
            server_free_at = max(server_free_at, now) + service_s
            order += 1
            heapq.heappush(events, (server_free_at, 1000 + order, "answer", chosen, newest.pop(chosen)))
    return answered, ages


def jain(values: list[int]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def test_cameras_of_one_priority_have_equal_shares_whatever_their_rates() -> None:
    shares = {f"camera {n}": Share(None, 2) for n in range(16)}
    rates = {name: 1 / (5 + 3 * number) for number, name in enumerate(shares)}

    answered, _ = simulated(shares, rates, service_s=0.02, in_flight=8)  # 50 a second, of 440

    assert jain(list(answered.values())) > 0.999
    assert sum(answered.values()) == pytest.approx(60 * 50, rel=0.01)


def test_a_camera_that_needs_less_than_its_share_loses_nothing_to_the_others() -> None:
    shares = {"slow": Share(None, 2), **{f"fast {n}": Share(None, 2) for n in range(3)}}
    rates = {"slow": 0.5, "fast 0": 0.01, "fast 1": 0.01, "fast 2": 0.01}

    answered, ages = simulated(shares, rates, service_s=0.02, in_flight=4)

    assert answered["slow"] == pytest.approx(120, abs=2)
    assert max(ages["slow"]) < 5 * 0.02  # the requests in flight, and its own


def test_a_higher_priority_is_first_and_the_lower_ones_still_have_their_part() -> None:
    shares = {"front": Share(1, 2), "left": Share(2, 2), "right": Share(2, 2), "any": Share(None, 2)}
    rates = dict.fromkeys(shares, 0.01)

    answered, _ = simulated(shares, rates, service_s=0.02, in_flight=1)  # 50 a second, of 400

    total = sum(answered.values())
    assert answered["front"] == pytest.approx(total * RELIEF / (RELIEF + 1), rel=0.02)
    for lower in ("left", "right", "any"):
        assert answered[lower] == pytest.approx(total / (RELIEF + 1) / 3, rel=0.05)


def test_no_more_requests_are_in_flight_than_a_camera_and_all_cameras_may_have() -> None:
    scheduler = Scheduler({"one": Share(None, 1), "two": Share(None, 2), "three": Share(None, 2)}, in_flight=4)
    taken = []
    for _ in range(3):
        for name in ("one", "two", "three"):
            scheduler.arrived(name)
        taken += list(iter(scheduler.next, None))

    assert len(taken) == 4
    assert Counter(taken)["one"] == 1
    scheduler.answered("one")
    assert scheduler.next() == "one"
    assert scheduler.next() is None


@pytest.mark.slow
@given(
    priorities=st.lists(st.sampled_from([1, 2, 3, None]), min_size=2, max_size=6),
    arrivals=st.lists(st.sets(st.integers(0, 5)), min_size=50, max_size=200),
)
@settings(max_examples=60, deadline=None)
def test_a_waiting_camera_has_its_turn_within_the_stated_bound(
    priorities: list[int | None], arrivals: list[set[int]]
) -> None:
    names = [str(number) for number in range(len(priorities))]
    scheduler = Scheduler({name: Share(p, 1) for name, p in zip(names, priorities, strict=True)}, in_flight=1)
    waited: dict[str, int] = {}
    for arriving in arrivals:
        for number in arriving & set(range(len(names))):
            scheduler.arrived(names[number])
            waited.setdefault(names[number], 0)
        chosen = scheduler.next()
        if chosen is None:
            continue
        scheduler.answered(chosen)
        assert waited.pop(chosen) <= (RELIEF + 1) * len(names)
        waited = {name: turns + 1 for name, turns in waited.items()}
        assert all(turns <= (RELIEF + 1) * len(names) for turns in waited.values())
