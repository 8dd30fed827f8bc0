# SPDX-License-Identifier: Apache-2.0
"""A real Envoy with the settings that Envoy Gateway makes of the chart's BackendTrafficPolicy."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

TYPES = "type.googleapis.com/envoy"
HTTP_OPTIONS = f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"
MANAGER = f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
START_S = 15.0


class Envoy:
    """An Envoy that sends each request to one of the endpoints that `admit` names."""

    def __init__(self, binary: Path, policy: dict[str, Any], folder: Path, port: int, admin_port: int) -> None:
        self._folder, self._admin_port = folder, admin_port
        self.admit(())
        config = folder / "envoy.json"
        config.write_text(json.dumps(_bootstrap(policy, folder / "endpoints.json", port, admin_port)))
        command = [
            str(binary),
            "-c",
            str(config),
            "--log-level",
            "warning",
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
        ]
        with (folder / "envoy.log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def admit(self, ports: Iterable[int]) -> None:
        """Name the pods that are endpoints of the Service, as the gateway's controller does."""
        endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
        assignment = {
            "@type": f"{TYPES}.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": "triton",
            "endpoints": [{"lb_endpoints": endpoints}],
        }
        new = self._folder / "endpoints.new"
        new.write_text(json.dumps({"version_info": str(time.time()), "resources": [assignment]}))
        new.replace(self._folder / "endpoints.json")

    def statistics(self) -> dict[str, int]:
        """Return Envoy's counters of the pods together."""
        with urlopen(
            f"http://127.0.0.1:{self._admin_port}/stats?filter=cluster.triton.&format=json", timeout=5
        ) as page:
            found = json.load(page)["stats"]
        return {one["name"].removeprefix("cluster.triton."): one["value"] for one in found if "name" in one}

    def __enter__(self) -> Envoy:
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "envoy.log").read_text()
            assert time.monotonic() < deadline, "Envoy did not start in time"
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.statistics())
        except URLError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _bootstrap(policy: dict[str, Any], endpoints: Path, port: int, admin_port: int) -> dict[str, Any]:
    retry, limit = policy["retry"], int(policy["requestBuffer"]["limit"].removesuffix("Mi")) << 20
    # Besides the policy's own values, these are Envoy Gateway's.
    again = {
        "retry_on": ",".join(retry["retryOn"]["triggers"]),
        "num_retries": retry["numRetries"],
        "retry_back_off": {
            "base_interval": _seconds(retry["perRetry"]["backOff"]["baseInterval"]),
            "max_interval": _seconds(retry["perRetry"]["backOff"]["maxInterval"]),
        },
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    route = {"cluster": "triton", "timeout": policy["timeout"]["http"]["requestTimeout"], "retry_policy": again}
    virtual = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    filters = [
        _extension("filters.http.buffer.v3.Buffer", "buffer", max_request_bytes=limit),
        _extension("filters.http.router.v3.Router", "router"),
    ]
    manager = {
        "@type": MANAGER,
        "stat_prefix": "door",
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [virtual]},
        "http_filters": filters,
    }
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    resources = {"listeners": [listener], "clusters": [_cluster(policy, endpoints)]}
    return {
        "node": {"id": "drain", "cluster": "drain"},
        "admin": {"address": _address(admin_port)},
        "static_resources": resources,
    }


def _cluster(policy: dict[str, Any], endpoints: Path) -> dict[str, Any]:
    check, breaker = policy["healthCheck"]["active"], policy["circuitBreaker"]
    assert policy["loadBalancer"]["type"] == "LeastRequest"
    return {
        "name": "triton",
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"path_config_source": {"path": str(endpoints)}}},
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "ignore_health_on_host_removal": True,
        "health_checks": [
            {
                "timeout": check["timeout"],
                "interval": check["interval"],
                "unhealthy_threshold": check["unhealthyThreshold"],
                "healthy_threshold": check["healthyThreshold"],
                "grpc_health_check": {},
            }
        ],
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 1024,
                    "max_requests": breaker["maxParallelRequests"],
                    "max_pending_requests": breaker["maxPendingRequests"],
                    "max_retries": breaker["maxParallelRetries"],
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP_OPTIONS,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _extension(kind: str, name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{TYPES}.extensions.{kind}", **values}}


def _seconds(text: str) -> str:
    return f"{int(text.removesuffix('ms')) / 1000}s"
