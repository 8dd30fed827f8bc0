# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with this project's configuration scrapes a real Triton; each panel of the dashboard shows data."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import DOCKER, MODEL, picture, run
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidInputError

PROMETHEUS = DOCKER / "prometheus"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "yolov8-triton.json").read_text())
EMPTY = ("nv_gpu_", "yolov8:psi")
"""This machine has no GPU, and the index of change compares with what was seen half an hour ago and before."""
LOAD_S, WAIT_S = 12, 60


def queries(*, empty: bool) -> list[tuple[str, str]]:
    """Return each panel's title and query, with the variable at All."""
    return [
        (panel["title"], target["expr"].replace("$model", ".+"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
        if any(name in target["expr"] for name in EMPTY) == empty
    ]


@pytest.fixture(scope="module")
def api(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus' address; it reads the shipped files, but asks this server, and more often."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(PROMETHEUS / "rules.yml", folder)
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "triton")
    assert job["static_configs"] == [{"targets": ["triton:8002"]}]
    job["static_configs"][0]["targets"] = [urllib.parse.urlsplit(server.metrics_url).netloc]
    config["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = "127.0.0.1:29090"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        load(server)
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        process.wait(20)


def load(server: TritonServer) -> None:
    """Ask for so long that rates have something to go by: mostly well, sometimes not."""
    end = time.monotonic() + LOAD_S
    with Client(server.grpc_url, model=MODEL) as client:
        while time.monotonic() < end:
            for seed in range(8):
                client.detect(picture(seed), conf=0.1)
            for bad, options in ((b"text", {}), (picture()[:-50], {}), (picture(), {"conf": 2.0})):
                with pytest.raises(InvalidInputError):
                    client.detect(bad, **options)


def ask(api: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """Return the series of a query that have a value now."""
    with urllib.request.urlopen(f"{api}/query?{urllib.parse.urlencode({'query': expression})}", timeout=10) as page:
        answer: Any = json.load(page)
    assert answer["status"] == "success", answer
    series = [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]
    return [(labels, value) for labels, value in series if not math.isnan(value)]


def wait_for(api: str, expression: str) -> list[tuple[dict[str, str], float]]:
    deadline = time.monotonic() + WAIT_S
    while not (found := ask(api, expression)):
        assert time.monotonic() < deadline, f"no data for {expression}"
        time.sleep(0.5)
    return found


@pytest.mark.parametrize(("title", "expression"), queries(empty=False), ids=lambda text: str(text)[:40])
def test_a_panel_shows_data(api: str, title: str, expression: str) -> None:
    assert wait_for(api, expression), title


@pytest.mark.parametrize(("title", "expression"), queries(empty=True), ids=lambda text: str(text)[:40])
def test_a_panel_that_has_no_data_here_is_a_valid_query(api: str, title: str, expression: str) -> None:
    assert ask(api, expression) == [], title


def test_the_panels_values_are_what_was_sent(api: str) -> None:
    """Check the rates of rounds of 11 requests, of which 8 are answered and 3 are refused for 3 reasons."""
    wait_for(api, "yolov8:lost:rate1m")
    (answered,) = ask(api, "yolov8:answered:rate1m")
    (taken,) = ask(api, "yolov8:taken:rate1m")
    refused = {labels["reason"]: value for labels, value in ask(api, "yolov8:refused:rate1m")}

    assert answered[0]["served"] == taken[0]["served"] == MODEL
    assert taken[1] / answered[1] == pytest.approx(11 / 8, rel=0.15)
    assert {reason for reason, value in refused.items() if value} == {"format", "damaged", "parameter"}
    assert sum(refused.values()) / answered[1] == pytest.approx(3 / 8, rel=0.15)


def test_the_variable_lists_the_models_that_clients_ask(api: str) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    selector, _ = variable["query"]["query"].removeprefix("label_values(").rstrip(")").rsplit(", ", 1)

    assert {labels["model"] for labels, _ in ask(api, selector)} == {MODEL}


def test_no_alert_fires_for_a_server_that_is_well(api: str) -> None:
    """Those that look at refusals apart: a quarter of these requests is refused, though not for ten minutes yet."""
    firing = ask(api, 'ALERTS{alertname!="ManyRequestsRefused"}')

    assert firing == []


def test_the_alerts_say_what_they_should() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    run("promtool", "test", "rules", Path(__file__).with_name("rules_test.yml"))


def test_grafana_is_told_of_the_data_source_that_its_panels_use() -> None:
    (source,) = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if panel["type"] != "row"}

    assert used == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
