# SPDX-License-Identifier: Apache-2.0
"""A short form of the drill: three servers are replaced behind a real Envoy, and no call is lost."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.kubernetes.conftest import ROOT


@pytest.mark.timeout(600)
def test_no_call_is_lost_while_pods_are_replaced() -> None:
    """The servers need the packages of .venv: this environment's numpy is too new for them."""
    command = [".venv/bin/python", "-m", "tests.kubernetes.drain", "--calls", "500", "--pre-stop", "4"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["ours"]["calls"] >= 500
    assert found["foreign"]["calls"] >= 500
