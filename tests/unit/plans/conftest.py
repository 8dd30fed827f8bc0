# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.plan_programs import Machine


@pytest.fixture
def built(machine: Machine) -> Machine:
    """A machine, which each module defines, with its plan built."""
    done = machine.run()
    assert done.returncode == 0, done.stderr
    return machine
