# SPDX-License-Identifier: Apache-2.0
"""Examine this environment, then one server after the other, and compare what they serve."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from yolov8_contract.errors import ContractError
from yolov8_triton import _protocol
from yolov8_triton._doctor import model as one_model
from yolov8_triton._doctor import server as one_server
from yolov8_triton._doctor.address import is_here, reachable
from yolov8_triton._doctor.environment import environment
from yolov8_triton._doctor.findings import Finding, Level, problem, warning
from yolov8_triton._errors import YoloTritonError


class MakeServer(Protocol):
    """Makes a connection to one server, with the options that all of them share."""

    def __call__(self, url: str, *, shared_memory: bool = False) -> one_server.Server:
        """Return the connection, which has not been used yet."""


class Examination:
    """The examination of an environment and of servers.

    Args:
        urls: Addresses of the servers.
        model: The model to examine; all models of this project if None.
        make_server: Makes the connection to one server.
    """

    def __init__(self, urls: Sequence[str], model: str | None, make_server: MakeServer) -> None:
        self._urls, self._model, self._make_server = urls, model, make_server
        self._described: dict[str, tuple[str, str]] = {}
        self._served: dict[str, set[str]] = {}

    def findings(self) -> Iterator[Finding]:
        """Yield what is found, as soon as it is."""
        yield from environment()
        for url in self._urls:
            if (yield from _passed(reachable(url))):
                yield from self._examine_address(url)
        yield from self._missing()

    def _examine_address(self, url: str) -> Iterator[Finding]:
        try:
            made = self._make_server(url)
        except (ImportError, ValueError) as exc:
            yield problem(url, str(exc), "correct the options of the connection")
            return
        with made as server:
            yield from self._examine(server)

    def _examine(self, server: one_server.Server) -> Iterator[Finding]:
        if not (yield from _passed(one_server.version(server))):
            return
        found, names = one_server.models(server, self._model)
        yield from found
        self._served[server.url] = set(names)
        fit = None
        for name in names:
            yield from self._compare(server, name)
            if (yield from _passed(one_model.examined(server, name))):
                fit = name
        if fit is not None and not server.http and is_here(server.url):
            with self._make_server(server.url, shared_memory=True) as sharing:
                yield from one_model.shared_memory(sharing, fit)

    def _missing(self) -> Iterator[Finding]:
        """Yield a warning for each server that lacks a model of another one."""
        everything = set().union(*self._served.values())
        for url, names in self._served.items():
            if self._model is None and (lacking := everything - names):
                text = f"lacks {', '.join(sorted(lacking))}, which another server has"
                yield warning(url, text, "a client of several addresses needs the same models on all of them")

    def _compare(self, server: one_server.Server, name: str) -> Iterator[Finding]:
        """Yield a warning if another server has a model of this name that is described otherwise."""
        try:
            description = repr(_protocol.served_model(server.config(name)))
        except (YoloTritonError, ContractError):  # the examination of the model says it
            return
        url, first = self._described.setdefault(name, (server.url, description))
        if first != description:
            text = f"model {name!r} has another task, input size or labels than at {url}"
            yield warning(server.url, text, "export once, and serve that repository on all servers of a client")


def _passed(findings: Iterator[Finding]) -> Generator[Finding, None, bool]:
    """Yield findings; return whether none of them is a problem."""
    passed = True
    for finding in findings:
        passed &= finding.level is not Level.PROBLEM
        yield finding
    return passed
