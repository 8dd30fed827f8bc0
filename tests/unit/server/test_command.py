# SPDX-License-Identifier: Apache-2.0
"""The launcher calls tritonserver with the right options, environment and backends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.server.conftest import StandIn
from yolov8_server import InvalidArgumentError


@pytest.fixture(params=['backend: "onnxruntime"', "platform: 'onnxruntime_onnx'"])
def onnx_repository(repository: Path, request: pytest.FixtureRequest) -> Path:
    (repository / "model" / "config.pbtxt").write_text(request.param)
    return repository


def test_it_listens_on_loopback_alone_by_default(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository)

    assert {call.option(f"--{service}-address") for service in ("grpc", "http", "metrics")} == {"127.0.0.1"}


def test_a_name_of_the_machine_is_resolved(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository, host="localhost")

    assert call.option("--http-address") == "127.0.0.1"


def test_free_ports_differ(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository)

    assert len({call.option(f"--{service}-port") for service in ("grpc", "http", "metrics")}) == 3


def test_free_ports_are_outside_the_range_of_ephemeral_ports(stand_in: StandIn, repository: Path) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    _, call = stand_in.run(repository)

    assert max(int(call.option(f"--{service}-port")) for service in ("grpc", "http", "metrics")) < lowest


def test_auto_complete_is_off_and_a_model_that_does_not_load_is_an_error(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository)

    assert "--disable-auto-complete-config" in call.argv
    assert call.option("--exit-on-error") == "true"
    assert call.option("--model-control-mode") == "none"


def test_further_arguments_come_last(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository, arguments=["--log-verbose=1"])

    assert call.argv[-1] == "--log-verbose=1"


def test_the_name_of_a_custom_model_configuration_is_passed_on(stand_in: StandIn, repository: Path) -> None:
    (repository / "model" / "configs").mkdir()
    (repository / "model" / "configs" / "l4.pbtxt").write_text('backend: "python"')

    _, call = stand_in.run(repository, model_config_name="l4")

    assert call.option("--model-config-name") == "l4"


def test_a_backend_that_only_a_custom_model_configuration_needs_is_added(stand_in: StandIn, repository: Path) -> None:
    (repository / "model" / "configs").mkdir()
    (repository / "model" / "configs" / "l4.pbtxt").write_text('backend: "onnxruntime"')

    _, call = stand_in.run(repository, model_config_name="l4")

    assert "onnxruntime/model.py" in call.backends


def test_each_server_names_its_shared_memory_differently(stand_in: StandIn, repository: Path) -> None:
    prefixes = {stand_in.run(repository)[1].option("--backend-config") for _ in range(2)}

    assert len(prefixes) == 2
    assert all(prefix.startswith("python,shm-region-prefix-name=yolov8-server-") for prefix in prefixes)


def test_a_full_installation_keeps_its_backends_and_environment(
    stand_in: StandIn, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    _, call = stand_in.run(repository)

    assert call.option("--backend-directory") == str(stand_in.root / "backends")
    assert call.environment["LD_LIBRARY_PATH"] == "/somewhere"
    assert call.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert call.environment["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert call.environment["MALLOC_MMAP_THRESHOLD_"] == str(16 << 20)
    assert call.environment["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"


def test_a_drop_in_stands_in_for_a_backend_that_a_model_needs_and_the_installation_lacks(
    stand_in: StandIn, onnx_repository: Path
) -> None:
    _, call = stand_in.run(onnx_repository)

    assert "onnxruntime/model.py" in call.backends
    assert "python/libtriton_python.so" in call.backends


@pytest.mark.slow
def test_a_backend_that_the_installation_has_is_never_replaced(stand_in: StandIn, onnx_repository: Path) -> None:
    stand_in.add_backend("onnxruntime", "libtriton_onnxruntime.so")

    _, call = stand_in.run(onnx_repository)

    assert [name for name in call.backends if name.startswith("onnxruntime/")] == [
        "onnxruntime/libtriton_onnxruntime.so"
    ]


def test_a_path_that_a_shell_would_split_is_given_through_a_link(stand_in: StandIn, repository: Path) -> None:
    odd = repository.rename(repository.parent / "the $(models) of é")

    _, call = stand_in.run(odd)

    given = Path(call.option("--model-repository"))
    assert given != odd
    assert given.name == "repository"


def test_a_non_ascii_path_is_given_as_it_is(stand_in: StandIn, repository: Path) -> None:
    named = repository.rename(repository.parent / "modèles")

    _, call = stand_in.run(named)

    assert call.option("--model-repository") == str(named)


def test_nothing_is_left_of_a_server_that_failed(
    stand_in: StandIn, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    stand_in.run(repository)

    assert list((tmp_path / "temporary").iterdir()) == []


PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_embedded_server_gets_a_python_backend_of_the_running_interpreter(
    stand_in: StandIn, repository: Path
) -> None:
    stand_in.embed(PYTHON)

    _, call = stand_in.run(repository)

    assert {name for name in call.backends if name.startswith("python/")} == {
        "python/libtriton_python.so",
        "python/triton_python_backend_stub",
        "python/triton_python_backend_utils.py",
    }
    assert call.environment["PATH"].startswith(str(Path(sys.executable).parent))


def test_models_are_loaded_by_request_with_the_key_alone(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository, model_control=True, admin_key="s3cret")

    modes = [argument for argument in call.argv if argument.startswith("--model-control-mode")]
    assert modes[-1] == "--model-control-mode=explicit"
    assert "--load-model=*" in call.argv
    for option in ("--grpc-restricted-protocol", "--http-restricted-api"):
        assert f"{option}=model-repository:triton-admin-key=s3cret" in call.argv
        others = next(argument for argument in call.argv if argument.startswith(f"{option}=shared-memory"))
        assert "model-repository" not in others


def test_few_threads_read_http_where_inference_is_closed(stand_in: StandIn, repository: Path) -> None:
    """Each of them keeps the memory of the largest body that it has refused."""
    _, closed = stand_in.run(repository)
    _, opened = stand_in.run(repository, http=True)

    assert "--http-thread-count=2" in closed.argv
    assert not [argument for argument in opened.argv if argument.startswith("--http-thread-count")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "model control needs a key"),
        ({"admin_key": ""}, "the admin key must be printable ASCII without blanks"),
        ({"admin_key": "two words"}, "the admin key must be printable ASCII without blanks"),
    ],
)
def test_model_control_without_a_key_is_refused(
    stand_in: StandIn, repository: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        stand_in.run(repository, model_control=True, **options)


def test_a_key_changes_nothing_without_model_control(stand_in: StandIn, repository: Path) -> None:
    _, call = stand_in.run(repository, admin_key="s3cret")

    assert not [argument for argument in call.argv if "s3cret" in argument or "explicit" in argument]
