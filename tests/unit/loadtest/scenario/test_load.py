# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest

from yolov8_loadtest.scenario.load import Arrivals, Kind, Load, Share, Stage, arrivals

STAGES = (Stage(duration_s=10, level=3.0), Stage(duration_s=5, level=20.0), Stage(duration_s=10, level=0.5))


def open_load(kind: Arrivals = "constant") -> Load:
    return Load(kind=Kind.OPEN, stages=STAGES, arrivals=kind)


@pytest.mark.parametrize("sources", [1, 2, 3, 7])
def test_all_sources_together_send_at_even_distances(sources: int) -> None:
    due = sorted(at for number in range(sources) for at in arrivals(open_load(), Share(number, sources), seed=0))

    assert len(due) == 30 + 100 + 5
    assert due[:3] == pytest.approx([0, 1 / 3, 2 / 3])
    gaps = [later - sooner for sooner, later in pairwise(due[35:125])]
    assert gaps == pytest.approx([0.05] * len(gaps))


@pytest.mark.parametrize("sources", [1, 4])
def test_random_arrivals_have_the_rate_of_their_stage(sources: int) -> None:
    load = Load(kind=Kind.OPEN, stages=(Stage(duration_s=1000, level=3.0),), arrivals="poisson")

    due = [at for number in range(sources) for at in arrivals(load, Share(number, sources), seed=1)]

    assert len(due) == pytest.approx(3000, rel=0.06)
    assert all(0 <= at < 1000 for at in due)


def test_random_arrivals_are_the_same_again_for_a_seed_and_differ_between_sources() -> None:
    first, again, other = (list(arrivals(open_load("poisson"), Share(number, 2), seed=5)) for number in (0, 0, 1))

    assert first == again
    assert first != other


@pytest.mark.parametrize(("at_s", "stage"), [(0, 0), (9.9, 0), (10, 1), (14.9, 1), (15, 2), (25, None)])
def test_a_moment_lies_in_its_stage(at_s: float, stage: int | None) -> None:
    assert open_load().stage_at(at_s) == stage


def test_an_open_load_has_one_source_a_process_and_others_their_users() -> None:
    closed = Load(kind=Kind.CLOSED, stages=STAGES)

    assert open_load().users_at(12, processes=3) == 3
    assert closed.users_at(12, processes=3) == 20
    assert closed.users_at(25, processes=3) is None
