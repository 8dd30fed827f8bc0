# SPDX-License-Identifier: Apache-2.0
from tests.unit.client.cli.conftest import photo

__all__ = ["photo"]
