# SPDX-License-Identifier: Apache-2.0
"""Start, watch and stop one tritonserver."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

from . import _leftovers
from ._command import (
    ADMIN_HEADER,
    BUSY_INSTANCES,
    CLOSED_HEADER,
    SHARED_WEIGHTS,
    build_command,
    build_environment,
    check_extra_options,
    model_control,
    restrictions,
)
from ._errors import InvalidArgumentError, PortInUseError, ServerError, StartError
from ._health import is_ready, memory_mib
from ._installation import Installation, find_tritonserver
from ._log import TAIL_LINES, Log, explain, explain_delay, explain_exit
from ._ports import ANY_ADDRESS, Ports, choose_ports, resolve_host
from ._process import SupervisedProcess, check_descriptor_limit
from ._repository import check_config_name, check_repository, compile_models, plain_path
from ._run_folder import create_run_folder, lay_out

logger = logging.getLogger(__name__)

DEFAULT_READY_TIMEOUT_S = 120.0
DEFAULT_STOP_TIMEOUT_S = 30.0
RESTART_GRACE_S = 2.0
START_ATTEMPTS = 3  # another process may take a free port before the server listens, or a crash end the server
# A machine that stands still for a second while models load ends the server: docs/limits.md, "after a pause".
CRASHES = {-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV}
MANY_LINES = 2000  # of the log, searched for the reasons of a failed start
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
DEFAULT_HOST = "127.0.0.1"  # loopback, because Triton has no authentication


class TritonServer:
    """A tritonserver that serves a model repository inside a ``with`` block.

    The server stops and its files are removed at the end of the block, and also when this process is killed.

    Example:
        >>> with TritonServer("model_repository") as server:
        ...     print(server.grpc_url)

    Args:
        repository: the folder that contains the models.
        host: the IPv4 address or host name to listen on; loopback by default, since Triton has no authentication.
        grpc_port: the port of the gRPC service; 0 takes a free port.
        http_port: the port of the HTTP service; 0 takes a free port.
        metrics_port: the port of the metrics service; 0 takes a free port.
        ready_timeout_s: the longest time in which all models must load.
        stop_timeout_s: the longest time that requests in flight may take at the end; then the server is killed.
        log_file: the file for the server's log; by default a temporary file without a name.
        model_config_name: the custom model configuration to read where a model has it: ``MODEL/configs/NAME.pbtxt``.
        http: whether inference over HTTP is open. A single small HTTP request can end this release of tritonserver.
        allow: the protocols to open: ``shared-memory``, ``model-repository``, ``trace``, ``logging``. Whoever reaches
            the server can end it through them.
        model_control: whether models can be loaded and unloaded by request, with the key, while the server runs.
        admin_key: the key for this; clients send it as ``triton-admin-key``.
        lend_cores: whether a request that is alone at the networks of the onnxruntime backend gets the threads of all
            instances of its model.
        arguments: further options of tritonserver, such as ``--log-verbose=1``.
    """

    def __init__(
        self,
        repository: str | os.PathLike[str],
        *,
        host: str = DEFAULT_HOST,
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        ready_timeout_s: float = DEFAULT_READY_TIMEOUT_S,
        stop_timeout_s: float = DEFAULT_STOP_TIMEOUT_S,
        log_file: str | os.PathLike[str] | None = None,
        model_config_name: str | None = None,
        http: bool = False,
        allow: Collection[str] = (),
        model_control: bool = False,
        admin_key: str | None = None,
        lend_cores: bool = True,
        arguments: Sequence[str] = (),
    ) -> None:
        for name, path in (("repository", repository), ("log_file", log_file)):
            if path is not None and not os.fspath(path):
                raise InvalidArgumentError(f"{name} is an empty path")
        self._repository = Path(repository)
        self._host = self._address = host
        self._wanted = self._ports = Ports(grpc=grpc_port, http=http_port, metrics=metrics_port)
        self._ready_timeout_s = ready_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._log_file = None if log_file is None else Path(log_file)
        self._model_config_name = model_config_name
        named = () if model_config_name is None else (f"--model-config-name={model_config_name}",)
        self._model_control, self._admin_key = model_control, admin_key if model_control else None
        self._lend_cores = lend_cores
        self._arguments = (*named, *arguments)
        self._http = http
        self._allow = allow
        self._key = secrets.token_hex(16)
        self._keep_log = False
        self._process: SupervisedProcess | None = None

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it is ready.

        Raises:
            InvalidArgumentError: if the repository or another argument is invalid, or the server runs already.
            TritonNotFoundError: if no tritonserver is found.
            UnsupportedEnvironmentError: if the tritonserver can't run in this environment.
            PortInUseError: if a requested port is taken.
            StartError: if the server exits (because a model does not load) or isn't ready in time.
        """
        if self._process is not None:
            raise InvalidArgumentError("the server is already running")
        check_descriptor_limit()
        check_repository(self._repository)
        if self._model_config_name is not None:
            check_config_name(self._repository, self._model_config_name)
        self._address = resolve_host(self._host)
        control = model_control(explicit=self._model_control, admin_key=self._admin_key, allow=self._allow)
        closed = restrictions(
            http=self._http,
            allow=self._allow,
            extra=[*control, *self._arguments],
            key=self._key,
            admin_key=self._admin_key,
        )
        self._closed = [*closed, *control]
        installation = find_tritonserver()
        check_extra_options(installation, self._arguments)
        _leftovers.sweep()
        for left in reversed(range(START_ATTEMPTS)):
            self._ports = choose_ports(self._address, self._wanted)
            try:
                self._launch(installation)
                return
            except PortInUseError as exc:
                if left == 0 or not self._wanted.any_free:
                    raise
                logger.warning("a free port was taken before the server listened, trying others: %s", exc)
            except StartError as exc:
                if left == 0 or exc.exit_code not in CRASHES:
                    raise
                self._keep_log = True
                logger.warning("starting it again: %s", exc)

    def stop(self) -> None:
        """Stop the server and wait for the cleanup; do nothing if it isn't running."""
        process, self._process = self._process, None
        if process is not None:
            self._end(process)

    def restart(self) -> None:
        """End the server if it still runs, and start it on the same ports; its log goes on in the same file.

        Requests in flight have 2 s to end.

        Raises:
            ServerError: as `start` does.
        """
        process, self._process = self._process, None
        if process is not None:
            self._end(process, RESTART_GRACE_S)
        self._keep_log = True
        self._wanted = self._ports
        self.start()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the server to exit; return its exit code (negative: a signal), or None if it still runs."""
        return self._running().wait(timeout_s)

    @property
    def pid(self) -> int:
        """The process ID of the tritonserver itself."""
        return self._running().pid

    @property
    def grpc_url(self) -> str:
        """The gRPC address ``HOST:PORT``, the form that tritonclient takes."""
        return self._url(self._ports.grpc)

    @property
    def http_url(self) -> str:
        """The HTTP address ``HOST:PORT``, the form that tritonclient takes."""
        return self._url(self._ports.http)

    @property
    def http_headers(self) -> dict[str, str]:
        """The header fields with which the playground's door uses what is closed over HTTP; a restart keeps them."""
        admin = {} if self._admin_key is None else {ADMIN_HEADER: self._admin_key}
        return {CLOSED_HEADER: self._key, **admin}

    @property
    def metrics_url(self) -> str:
        """The address of the metrics for Prometheus, ``http://HOST:PORT/metrics``."""
        return f"http://{self._url(self._ports.metrics)}/metrics"

    def memory_mib(self) -> int:
        """Return the memory that requests have made the server hold, in MiB: its heap and its shared memory.

        Raises:
            OSError: if the server has exited.
        """
        process = self._running()
        return memory_mib(process.pid, process.mark)

    @property
    def end_reason(self) -> str:
        """Why a server that has exited did so, as far as is known: what its supervisor saw, or its exit code."""
        process = self._running()
        return process.reason or explain_exit(process.poll())

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """Return the last lines of the server's log."""
        return self._log.tail(lines)

    def _launch(self, installation: Installation) -> None:
        mark = _leftovers.new_mark()
        self._log = Log(self._log_file, keep=self._keep_log)
        try:
            process = self._spawn(installation, mark, create_run_folder(mark))
        except BaseException:
            self._log.close()
            _leftovers.remove(mark)
            raise
        try:
            self._wait_until_ready(process, mark)
        except BaseException:
            self._end(process)
            raise
        self._process = process

    def _spawn(self, installation: Installation, mark: str, folder: Path) -> SupervisedProcess:
        if self._model_control and installation.is_embedded:
            compile_models(self._repository)
        command = build_command(
            installation,
            repository=plain_path(self._repository, folder),
            backends=lay_out(installation, folder, repository=self._repository),
            host=self._address,
            ports=self._ports,
            mark=mark,
            closed=self._closed,
            extra=self._arguments,
        )
        return SupervisedProcess(
            command,
            environment=build_environment(installation, os.environ, libraries=[folder / "lib"]) | self._shared(folder),
            log=self._log,
            mark=mark,
            stop_timeout_s=self._stop_timeout_s,
        )

    def _shared(self, folder: Path) -> dict[str, str]:
        """Return what tells the models of the onnxruntime backend to lend cores, and to share weights."""
        busy = str(folder / "busy") if self._lend_cores else ""
        return {BUSY_INSTANCES: busy, SHARED_WEIGHTS: str(folder / "weights")}

    def _end(self, process: SupervisedProcess, grace_s: float | None = None) -> None:
        try:
            process.stop(grace_s)
        finally:
            process.close()
            self._log.close()

    def _wait_until_ready(self, process: SupervisedProcess, mark: str) -> None:
        deadline = time.monotonic() + self._ready_timeout_s
        pause = FIRST_PAUSE_S
        host = self._reachable_address()
        while not is_ready(host, http_port=self._ports.http, metrics_port=self._ports.metrics, server_id=mark):
            if (code := process.wait(pause)) is not None:
                raise self._start_error(code)
            if time.monotonic() > deadline:
                raise self._start_error(None)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _start_error(self, code: int | None) -> ServerError:
        log = self._log.tail(MANY_LINES)
        if code is None:
            message = f"tritonserver was not ready within {self._ready_timeout_s:g} s:\n{explain_delay(log)}"
        else:
            message = f"tritonserver exited with code {code} at start:\n{explain(log)}"
        if "already in use" in message:
            return PortInUseError(message)
        return StartError(message, exit_code=code, log=self._log.tail())

    def _url(self, port: int) -> str:
        self._running()
        return f"{self._reachable_address()}:{port}"

    def _reachable_address(self) -> str:
        return DEFAULT_HOST if self._address == ANY_ADDRESS else self._address

    def _running(self) -> SupervisedProcess:
        if self._process is None:
            raise InvalidArgumentError("the server is not running: call start(), or use it as a context manager")
        return self._process
