# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from tritonclient.grpc import service_pb2 as pb

from yolov8_loadtest.monitor.server import (
    ModelCounters,
    ServerSample,
    fetch_metrics,
    growth,
    moments,
    read_metrics,
    server_statistics,
    snapshot,
)

PAGE = """\
# HELP nv_inference_request_failure Number of failed inference requests
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="yolov8n",reason="REJECTED",version="1"} 3
nv_inference_request_failure{model="yolov8n",reason="OTHER",version="1"} 0
# HELP yolov8_refusals Refused requests
# TYPE yolov8_refusals counter
yolov8_refusals{model="a \\"quoted\\" name",reason="format",version="2"} 1.5e+01
# HELP nv_cpu_utilization CPU utilization rate
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.25
"""
MS = 1_000_000


def counters(requests: int, *, queue_ms: int = 0, infer_ms: int = 0) -> ModelCounters:
    return ModelCounters(
        succeeded=requests,
        executions=requests,
        total_ns=requests * (queue_ms + infer_ms) * MS,
        queue_ns=requests * queue_ms * MS,
        infer_ns=requests * infer_ms * MS,
    )


def test_metrics_that_statistics_lack_are_read_with_their_labels_but_the_version() -> None:
    assert read_metrics(PAGE) == {
        'nv_inference_request_failure{model="yolov8n", reason="REJECTED"}': 3,
        'nv_inference_request_failure{model="yolov8n", reason="OTHER"}': 0,
        'yolov8_refusals{model="a "quoted" name", reason="format"}': 15,
    }


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/metrics"], ids=["unknown-port", "nobody-listens"])
def test_without_a_metrics_port_there_are_no_metrics(url: str | None) -> None:
    assert fetch_metrics(url) is None


def test_growth_names_the_counters_that_grew() -> None:
    assert growth({"a": 1, "b": 2}, {"a": 4, "b": 2, "new": 1}) == {"a": 3, "new": 1}


def test_a_snapshot_adds_the_versions_of_a_model_up() -> None:
    response = pb.ModelStatisticsResponse()
    for version, count in (("1", 2), ("2", 3)):
        model = response.model_stats.add(name="yolov8n", version=version, execution_count=1)
        model.inference_stats.success.count = count
        model.inference_stats.success.ns = count * MS
        batch = model.batch_stats.add(batch_size=count)
        batch.compute_infer.count = 1

    found = snapshot(response)

    assert list(found) == ["yolov8n"]
    assert (found["yolov8n"].succeeded, found["yolov8n"].executions) == (5, 2)
    assert found["yolov8n"].mean_ms("total") == 1
    assert found["yolov8n"].mean_batch == 2.5


def test_figures_are_of_the_time_between_the_first_sample_and_the_last() -> None:
    samples = [
        ServerSample(at_s=0, models={"m": counters(10, queue_ms=9), "m_network": counters(10, queue_ms=9)}),
        ServerSample(at_s=5, models={"m": counters(10, queue_ms=9), "m_network": counters(10, queue_ms=9)}),
        ServerSample(
            at_s=9,
            models={
                "m": counters(10, queue_ms=9) + counters(4, infer_ms=6),
                "m_network": counters(10, queue_ms=9) + counters(4, queue_ms=2, infer_ms=4),
            },
        ),
    ]

    ensemble, network = server_statistics(samples, {"m": ["m_network", "m_not_loaded"]})

    assert (ensemble.model, ensemble.ensemble, ensemble.succeeded, ensemble.total_ms) == ("m", "m", 4, 6)
    assert (network.model, network.ensemble, network.queue_ms, network.infer_ms) == ("m_network", "m", 2, 4)
    assert math.isnan(network.mean_batch)


def test_one_sample_gives_no_figures() -> None:
    assert server_statistics([ServerSample(at_s=0, models={"m": counters(3)})], {"m": []}) == []


def test_moments_are_those_in_which_an_ensemble_answered() -> None:
    samples = [
        ServerSample(at_s=0, models={"m_network": counters(0)}),
        ServerSample(at_s=2, models={"m_network": counters(2, queue_ms=3, infer_ms=5)}),
        ServerSample(at_s=4, models={"m_network": counters(2, queue_ms=3, infer_ms=5)}),
    ]

    (moment,) = moments(samples, {"m": ["m_network"]})

    assert (moment.at_s, moment.ensemble, moment.queue_ms, moment.compute_ms) == (1, "m", 3, {"m_network": 5})
