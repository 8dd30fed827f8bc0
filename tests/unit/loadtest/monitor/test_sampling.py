# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from yolov8_loadtest.monitor.watch import MOST_SAMPLES, Sampling


@pytest.mark.parametrize("duration_s", [10, MOST_SAMPLES])
def test_every_second_of_a_short_run_is_kept(duration_s: int) -> None:
    sampling = Sampling(duration_s)
    moments = [second + (0.004 if second % 2 else -0.004) for second in range(1, duration_s + 1)]

    assert all(sampling.keeps(at_s) for at_s in moments)


@pytest.mark.parametrize("duration_s", [MOST_SAMPLES + 1, 720, 36_000])
def test_a_long_run_has_no_more_samples_than_a_short_one_and_has_them_all_along(duration_s: int) -> None:
    sampling = Sampling(duration_s)

    kept = [second for second in range(1, duration_s + 1) if sampling.keeps(second)]

    assert MOST_SAMPLES / 2 <= len(kept) <= MOST_SAMPLES
    gaps = [after - before for before, after in zip([0, *kept], [*kept, duration_s], strict=True)]
    assert max(gaps) <= duration_s / MOST_SAMPLES + 1
