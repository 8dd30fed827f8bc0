# SPDX-License-Identifier: Apache-2.0
"""The locustfile of a run."""

import locust  # noqa: F401  (first: importing it patches the sockets)

from yolov8_loadtest.generator.users import ScenarioShape, ScenarioUser  # noqa: F401  (Locust finds them by their names here)
