# SPDX-License-Identifier: Apache-2.0
"""Which error each answer of a server becomes. The texts are Triton's own."""

from __future__ import annotations

import socket
import threading

import grpc
import pytest

import yolov8_triton as yt
from tests.fakes.answers import arrays
from tests.fakes.fake_triton import refusing
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task

Status = grpc.StatusCode

CASES = [
    pytest.param(
        Status.INVALID_ARGUMENT,
        "in ensemble 'yolov8n', invalid image: 3 bytes are none of jpeg, png, webp, bmp",
        yt.InvalidImageError,
        ": invalid image: 3 bytes are none of",
        id="bad-image",
    ),
    pytest.param(
        Status.INVALID_ARGUMENT,
        "in ensemble 'yolov8n', invalid parameter: 'conf' must be a number from 0 to 1, got 2",
        yt.InvalidParameterError,
        ": invalid parameter: 'conf' must be",
        id="bad-parameter",
    ),
    pytest.param(
        Status.INVALID_ARGUMENT,
        "[request id: <id_unknown>] inference request batch-size must be <= 1 for 'yolov8n'",
        yt.InvalidInputError,
        "batch-size must be",
        id="bad-otherwise",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "Exceeds maximum queue size",
        yt.ServerOverloadedError,
        "keep fewer requests in flight",
        id="queue-full",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "This protocol is restricted, expecting header 'triton-grpc-protocol-infer-key'",
        yt.AccessRefusedError,
        "Client(..., headers={",
        id="restricted",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "Request for unknown model: 'yolov8n' version 1 is not at ready state",
        yt.ServerDrainingError,
        "wait until the model is loaded",
        id="version-not-ready",
    ),
    pytest.param(
        Status.INTERNAL,
        "in ensemble 'yolov8n', Failed to process the request(s) for model instance 'yolov8n_postprocess_0_0', "
        "message: Stub process 'yolov8n_postprocess_0_0' is not healthy.",
        yt.ServerUnavailableError,
        "a python model of the server has died",
        id="model-died",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "This protocol is restricted, expecting header 'triton-grpc-protocol-closed-see-yolov8-server-help'",
        yt.AccessRefusedError,
        "yolov8-server opens it with --http",
        id="closed-by-the-launcher",
    ),
    pytest.param(
        Status.UNIMPLEMENTED, "", yt.ContractMismatchError, "what answers there is not Triton", id="another-server"
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"
        ": unable to get local issuer certificate: OK",
        yt.TlsError,
        "tls=Tls(ca=FILE)",
        id="certificate-not-trusted",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake failed "
        "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER: OK",
        yt.TlsError,
        "leave tls= out",
        id="no-tls-there",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Custom verification check failed "
        "with error: UNAUTHENTICATED: Hostname Verification Check failed.",
        yt.TlsError,
        "that the server's certificate is made out to",
        id="certificate-of-another-host",
    ),
    pytest.param(
        Status.UNAVAILABLE,
        "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed",
        yt.ServerUnavailableError,
        "does it want TLS",
        id="hangs-up",
    ),
    pytest.param(
        Status.NOT_FOUND,
        "Request for unknown model: 'yolov8n' is not found",
        yt.ModelNotFoundError,
        "`yolov8-triton models` lists",
        id="unknown-model",
    ),
    pytest.param(Status.DEADLINE_EXCEEDED, "", yt.DeadlineExceededError, "no answer within 10 s", id="deadline-there"),
    pytest.param(
        Status.INTERNAL, "onnx runtime error 6", yt.YoloTritonError, "INTERNAL: onnx runtime error 6", id="internal"
    ),
    pytest.param(
        Status.INTERNAL,
        "Unable to open shared memory region: '/x'",
        yt.SharedMemoryError,
        "needs a server on this host",
        id="other-host-s-memory",
    ),
    pytest.param(Status.UNKNOWN, "oh", yt.YoloTritonError, "see the server's log", id="anything-else"),
    *(
        pytest.param(status, text, yt.ServerDrainingError, "use another server", id=name)
        for name, status, text in (
            (
                "scheduler-stopped",
                Status.UNAVAILABLE,
                "in ensemble 'yolov8n', [request id: <id_unknown>] Server is stopping, scheduler for model has stopped "
                "accepting new inference requests",
            ),
            ("grpc", Status.UNAVAILABLE, "GRPC server is shutting down and has stopped accepting new requests."),
            ("exiting", Status.UNAVAILABLE, "Server exiting"),
            ("drained", Status.NOT_FOUND, "Request for unknown model: 'yolov8n' has no available versions"),
            ("cancelled-there", Status.CANCELLED, "CANCELLED"),
        )
    ),
    *(
        pytest.param(
            Status.UNAVAILABLE, f"in ensemble 'yolov8n', {text}", yt.ServerOverloadedError, "try again later", id=name
        )
        for name, text in (
            ("member-s-queue-full", "[request id: <id_unknown>] Exceeds maximum queue size"),
            ("too-long-in-the-queue", "Request timeout expired"),
        )
    ),
    *(
        pytest.param(
            Status.INVALID_ARGUMENT,
            f"[request id: <id_unknown>] unexpected {text}",
            yt.ContractMismatchError,
            "export the model with the same release",
            id=name,
        )
        for name, text in (
            ("no-such-tensor", "inference input 'image' for model 'yolov8n'"),
            ("other-tensor-shape", "shape for input 'image' for model 'yolov8n'. Expected [1,3]"),
        )
    ),
    *(
        pytest.param(status, text, yt.ServerUnavailableError, "is the server up", id=name)
        for name, status, text in (
            ("died-meanwhile", Status.UNAVAILABLE, "recvmsg:Connection reset by peer"),
            ("stream-ended", Status.INTERNAL, "Received RST_STREAM with error code 2"),
        )
    ),
    pytest.param(Status.UNAUTHENTICATED, "no token", yt.AccessRefusedError, "headers={", id="proxy-wants-token"),
    pytest.param(Status.PERMISSION_DENIED, "not yours", yt.AccessRefusedError, "headers={", id="proxy-denies"),
]


@pytest.mark.parametrize(("status", "text", "error", "message"), CASES)
def test_each_answer_has_its_error(
    serve: Serve, connect: Connect, status: Status, text: str, error: type[Exception], message: str
) -> None:
    fake = serve(answer=refusing(status, text))

    with pytest.raises(yt.YoloTritonError) as caught:
        connect(fake).detect(b"an image")

    assert type(caught.value) is error
    assert str(caught.value).startswith(f"model 'yolov8n' at {fake.url}: ")
    assert message in str(caught.value)
    assert caught.value.__cause__ is not None


def test_every_error_of_the_tree_is_reached() -> None:
    leaves = {name for name in yt.__all__ if name.endswith("Error")}

    # The task is compared by the client itself, videos are read by it, and rollouts have tests of their own.
    assert leaves - {case.values[2].__name__ for case in CASES} == {"RolloutError", "VideoError", "WrongTaskError"}


@pytest.mark.parametrize(
    ("error", "base"),
    [
        pytest.param(yt.InvalidImageError, yt.InvalidInputError, id="image"),
        pytest.param(yt.InvalidParameterError, yt.InvalidInputError, id="parameter"),
        pytest.param(yt.ServerDrainingError, yt.ServerUnavailableError, id="draining"),
        pytest.param(yt.ServerOverloadedError, yt.YoloTritonError, id="overload-is-not-dead"),
        pytest.param(yt.TlsError, yt.YoloTritonError, id="insecure-is-not-dead"),
    ],
)
def test_the_tree_is_as_documented(error: type[Exception], base: type[Exception]) -> None:
    assert error.__bases__ == (base,)


@pytest.mark.slow
def test_an_address_where_nobody_listens_is_unavailable() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{taken.getsockname()[1]}"
        with yt.Client(url) as client, pytest.raises(yt.ServerUnavailableError, match=r"is this its gRPC port \(8001"):
            client.detect(b"an image")


def test_a_slow_answer_ends_at_the_deadline(serve: Serve, connect: Connect) -> None:
    over = threading.Event()

    def wait(_: object) -> dict[str, object]:
        over.wait(timeout=30)
        return arrays(Task.DETECT)

    client = connect(serve(answer=wait))
    client.info()
    try:
        with pytest.raises(yt.DeadlineExceededError, match=r"no answer within 0\.2 s; raise timeout_s"):
            client.detect(b"an image", timeout_s=0.2)
    finally:
        over.set()


def test_a_server_that_accepts_and_says_nothing_ends_at_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        with yt.Client(url, timeout_s=0.2) as client, pytest.raises(yt.DeadlineExceededError, match=r"0\.2 s"):
            client.info()
