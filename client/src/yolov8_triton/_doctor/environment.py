# SPDX-License-Identifier: Apache-2.0
"""Examine the packages of this Python environment."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from importlib import metadata

from packaging.requirements import Requirement

from yolov8_triton._doctor.findings import Finding, note, ok, problem, warning

DISTRIBUTION = "yolov8-triton-client"
SUBJECT = "client"
EVERYTHING = "all"
"""The extra that consists of others."""
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Distributions that all install the module ``cv2``, each over the others."""


def environment() -> Iterator[Finding]:
    """Yield what is found about the client, its dependencies and its extras."""
    system = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield ok(SUBJECT, f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)} on {system}")
    requirements = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    yield from _dependencies(requirements)
    yield from _extras(requirements)
    yield from _opencv()


def _dependencies(requirements: Sequence[Requirement]) -> Iterator[Finding]:
    needed = _applying(requirements, extra="")
    unfit = [one for one in needed if not _fits(one)]
    for requirement in unfit:
        found = _installed(requirement.name)
        state = "is not installed" if found is None else f"{found} is installed"
        wanted = f"{requirement.name}{_with_extras(requirement)}{requirement.specifier}"
        yield problem(SUBJECT, f"{requirement.name} {state}; {wanted} is needed", f"pip install '{wanted}'")
    if not unfit:
        names = dict.fromkeys(one.name for one in needed)
        yield ok(SUBJECT, "dependencies: " + ", ".join(f"{name} {_installed(name)}" for name in names))


def _extras(requirements: Sequence[Requirement]) -> Iterator[Finding]:
    """Yield which extras are installed; an extra of which a package is too old is worth a warning."""
    base = {str(one) for one in _applying(requirements, extra="")}
    present: list[str] = []
    missing: list[str] = []
    for extra in metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ():
        own = [one for one in _applying(requirements, extra) if str(one) not in base]
        members = [one for one in own if one.name != DISTRIBUTION]
        if not members or extra == EVERYTHING:
            continue
        unfit = [one for one in members if _installed(one.name) is not None and not _fits(one)]
        for one in unfit:
            text = f"extra {extra}: {one.name} {_installed(one.name)} is installed; {one.specifier} is needed"
            yield warning(SUBJECT, text, f"pip install '{one.name}{one.specifier}'")
        if not unfit:
            (present if all(map(_fits, members)) else missing).append(extra)
    if present:
        yield ok(SUBJECT, f"extras installed: {', '.join(sorted(present))}")
    if missing:
        text = f"extras not installed: {', '.join(sorted(missing))}"
        yield note(SUBJECT, text, f"for what needs one: pip install './client[{sorted(missing)[0]}]' in the checkout")


def _opencv() -> Iterator[Finding]:
    found = [name for name in OPENCV if _installed(name) is not None]
    if len(found) > 1:
        text = f"{' and '.join(found)} are installed over each other; which one is imported depends on their order"
        yield warning(SUBJECT, text, f"pip uninstall -y {' '.join(found)} && pip install opencv-python-headless")


def _applying(requirements: Sequence[Requirement], extra: str) -> list[Requirement]:
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": extra})]


def _fits(requirement: Requirement) -> bool:
    version = _installed(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _with_extras(requirement: Requirement) -> str:
    return re.sub(r"^(.+)$", r"[\1]", ",".join(sorted(requirement.extras)))
