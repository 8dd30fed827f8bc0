# SPDX-License-Identifier: Apache-2.0
"""The table of refusals is true in a real server, whose core reads configurations before the drop-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tritonclient.grpc as triton

from tests.integration.server import models
from tests.unit.server.graphs import GRAPHS, Case, cases
from yolov8_server import TritonServer

CASES = [case for case in cases() if case.core]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return the index entry, with state and reason, of every case; each case is a model of one repository."""
    folder = tmp_path_factory.mktemp("served")
    for case in CASES:
        models.write(folder, case.id, case.config, graph=GRAPHS[case.graph])
        (folder / case.id / "1" / "gone.onnx").unlink(missing_ok=True)
    options = ("--exit-on-error=false", "--strict-readiness=false")
    with (
        TritonServer(folder, arguments=options, stop_timeout_s=0) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        yield {model.name: model for model in client.get_model_repository_index().models}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_a_model_is_ready_or_refused_with_the_reason(loaded: dict[str, Any], case: Case) -> None:
    model = loaded[case.id]

    if case.refused is None:
        assert (model.state, model.reason) == ("READY", "")
    else:
        assert model.state == "UNAVAILABLE"
        assert case.refused in model.reason
