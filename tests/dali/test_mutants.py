# SPDX-License-Identifier: Apache-2.0
"""What the gpu profile's check lets pass, DALI's CPU decoder decodes: one image that it can't decode fails a batch.

``make test-dali ARGS="--mutants 100000 --mutants-seed 7 -k mutant"`` tries more, and others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dali.conftest import Twin
from tests.dali.mutants import mutants, passes

BATCH = 64


def test_no_mutant_that_passes_the_check_fails_in_the_decoder(
    twin: Callable[..., Twin], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wanted, seed = (request.config.getoption(name) for name in ("--mutants", "--mutants-seed"))
    admitted = itertools.islice(filter(passes, mutants(seed)), wanted)
    built = twin(imgsz=(32, 32), max_batch_size=BATCH)
    tried = 0

    while batch := tuple(itertools.islice(admitted, BATCH)):
        try:
            built.run(batch)
        except RuntimeError as exc:  # the pipeline is unusable from here on
            for number, content in enumerate(batch):
                (tmp_path / f"{number}.jpg").write_bytes(content)
            pytest.fail(f"after {tried} mutants: one of those in {tmp_path} can't be decoded: {exc}")
        tried += len(batch)

    assert tried == wanted
