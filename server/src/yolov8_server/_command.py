# SPDX-License-Identifier: Apache-2.0
"""Build the server's command line and environment. The only I/O is running the binary with `--help`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ._errors import InvalidArgumentError, UnsupportedEnvironmentError
from ._installation import Installation
from ._ports import Ports

HELP_TIMEOUT_S = 30.0
BUSY_INSTANCES = "YOLOV8_BUSY_INSTANCES"  # as the onnxruntime drop-in reads it
SHARED_WEIGHTS = "YOLOV8_SHARED_WEIGHTS"
GPU_CONTROL_DEVICE = Path("/dev/nvidiactl")
# The launcher sets these. A second value would make the server listen where the launcher does not look for it.
OWN_OPTIONS = frozenset(
    {
        "--model-repository", "--model-store", "--id", "--backend-directory",
        "--http-address", "--http-port", "--grpc-address", "--grpc-port", "--metrics-address", "--metrics-port",
        "--allow-http", "--allow-grpc", "--allow-metrics", "--log-file",
    }
)  # fmt: skip

# Whoever uses these protocols can end the server, or write files with its rights.
RESTRICTED = ("shared-memory", "trace", "logging")
# The protocol is read-only unless models can be loaded by request.
RESTRICTED_WITH_MODEL_CONTROL = "model-repository"
ALLOWABLE = (*RESTRICTED, RESTRICTED_WITH_MODEL_CONTROL)
# Each of them reads a JSON body. One small body can end this release of tritonserver.
RESTRICTED_OVER_HTTP = (*ALLOWABLE, "inference")
# A refused body of one-byte chunks leaves 600 MB with the thread that read it. Health and metadata need few threads.
HTTP_THREADS_WITHOUT_INFERENCE = "--http-thread-count=2"
ADMIN_HEADER = "triton-admin-key"
# Triton's refusal names the header that it expects.
CLOSED_HEADER = "closed-see-yolov8-server-help"


def check_allowable(names: Collection[str]) -> None:
    """Raise `InvalidArgumentError` for a name that is not in `ALLOWABLE`."""
    if unknown := sorted(set(names) - set(ALLOWABLE)):
        raise InvalidArgumentError(f"can't allow {unknown[0]!r}: expected one of {', '.join(ALLOWABLE)}")


def restrictions(
    *, http: bool, allow: Collection[str], extra: Sequence[str], key: str, admin_key: str | None = None
) -> list[str]:
    """Return the options that close protocols with a key, and bound what refused HTTP requests leave in memory.

    Args:
        http: Whether inference over HTTP is open.
        allow: Names of `ALLOWABLE` to leave open, over gRPC and HTTP.
        extra: The options that the user gives; a user's own restrictions replace ours for the protocol.
        key: The key that nobody knows, or only the playground's door.
        admin_key: The key with which models are loaded and unloaded; None closes this with ``key``.

    Raises:
        InvalidArgumentError: if ``allow`` has a name that is not in `ALLOWABLE`.
    """
    check_allowable(allow)
    given = {argument.partition("=")[0] for argument in extra}
    over_grpc = (*RESTRICTED, *([RESTRICTED_WITH_MODEL_CONTROL] if "--model-control-mode" in given else []))
    over_http = over_grpc if http else RESTRICTED_OVER_HTTP
    if admin_key is not None:
        allow = {*allow, RESTRICTED_WITH_MODEL_CONTROL}  # it has a key of its own
    closed = {
        "--grpc-restricted-protocol": [name for name in over_grpc if name not in allow],
        "--http-restricted-api": [name for name in over_http if name not in allow],
    }
    options = [
        f"{option}={','.join(names)}:{CLOSED_HEADER}={key}"
        for option, names in closed.items()
        if names and option not in given
    ]
    if not http:
        options.append(HTTP_THREADS_WITHOUT_INFERENCE)
    if admin_key is None:
        return options
    return options + [
        f"{option}={RESTRICTED_WITH_MODEL_CONTROL}:{ADMIN_HEADER}={admin_key}"
        for option in closed
        if option not in given
    ]


def model_control(*, explicit: bool, admin_key: str | None, allow: Collection[str]) -> list[str]:
    """Return the options with which models can be loaded by request; all of the repository's are loaded at start.

    Raises:
        InvalidArgumentError: if nothing would protect them, or the key can't be an option of tritonserver.
    """
    if not explicit:
        return []
    if admin_key is None and RESTRICTED_WITH_MODEL_CONTROL not in allow:
        raise InvalidArgumentError(
            "model control needs a key, since whoever loads a model runs its code: set TRITON_ADMIN_KEY (in Python: "
            f"admin_key), or open it to everyone with --allow {RESTRICTED_WITH_MODEL_CONTROL}"
        )
    if admin_key is not None and not re.fullmatch(r"[!-~]+", admin_key):
        raise InvalidArgumentError("the admin key must be printable ASCII without blanks, and not be empty")
    return ["--model-control-mode=explicit", "--load-model=*"]


def build_command(
    installation: Installation,
    *,
    repository: Path,
    backends: Path,
    host: str,
    ports: Ports,
    mark: str,
    closed: Sequence[str],
    extra: Sequence[str] = (),
) -> list[str]:
    """Return the argument vector, with ``extra`` last so that it overrides the defaults."""
    command = [
        str(installation.binary),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--id={mark}",  # the launcher recognises its server by this id
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        f"--backend-config=python,shm-region-prefix-name={mark}",  # the drop-in backends inherit it
        f"--grpc-address={host}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={host}",
        f"--http-port={ports.http}",
        f"--metrics-address={host}",
        f"--metrics-port={ports.metrics}",
        *closed,
    ]
    if not GPU_CONTROL_DEVICE.exists():
        command.append("--allow-gpu-metrics=false")  # otherwise the server logs that NVML is missing
    return command + list(extra)


def check_extra_options(installation: Installation, extra: Sequence[str]) -> None:
    """Raise `InvalidArgumentError` for an option that the launcher sets or that the tritonserver doesn't know.

    For an unknown option tritonserver prints 400 lines of usage. Options differ between releases, so the binary is
    asked for its list.
    """
    options = [argument.partition("=")[0] for argument in extra if argument.startswith("--")]
    for option in options:
        if option in OWN_OPTIONS:
            raise InvalidArgumentError(
                f"{option} is set by the launcher: use the launcher's own option or argument instead"
            )
    known = known_options(installation) if options else frozenset()
    for option in options:
        if option not in known:
            raise InvalidArgumentError(
                f"{option} is not an option of the tritonserver at {installation.binary}: see its --help"
            )


def known_options(installation: Installation) -> frozenset[str]:
    """Return the options that the binary's ``--help`` lists."""
    try:
        result = subprocess.run(
            [installation.binary, "--help"],
            env=build_environment(installation, os.environ, libraries=()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HELP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UnsupportedEnvironmentError(f"can't run {installation.binary} --help: {exc}") from exc
    options = frozenset(re.findall(r"^\s+(--[a-z0-9-]+)", result.stdout, re.MULTILINE))
    if "--model-repository" not in options:
        raise UnsupportedEnvironmentError(
            f"{installation.binary} --help printed no usage (exit code {result.returncode}): {result.stdout[-2000:]}"
        )
    return options


HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""What glibc does with memory; docker/serve.sh sets the same. It keeps freed memory, in bytes: by default, an image's
memory goes back to the kernel, which zeroes it page by page for the next image. Larger blocks still go back at once.
And it asks for huge pages, with which a network on a CPU takes less time; older releases than 2.35 ignore that."""


def build_environment(
    installation: Installation, environ: Mapping[str, str], *, libraries: Sequence[Path]
) -> dict[str, str]:
    """Return our environment; for the embedded server, with its libraries and our interpreter on the search paths."""
    # All numbers of GPUs mean nvidia-smi's order; CUDA's own is the fastest first.
    environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **HEAP, **environ}
    if installation.is_embedded:
        _prepend(environment, "LD_LIBRARY_PATH", [*libraries, installation.libraries])
        # The stub embeds Python, and embedded Python locates its packages by the first `python3` on PATH.
        _prepend(environment, "PATH", [Path(sys.executable).parent])
    return environment


def _prepend(environment: dict[str, str], variable: str, folders: Sequence[Path]) -> None:
    rest = [environment[variable]] if environment.get(variable) else []
    environment[variable] = os.pathsep.join([*map(str, folders), *rest])
