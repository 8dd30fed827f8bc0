# SPDX-License-Identifier: Apache-2.0
"""The Locust user, and the load shape that says how many of them there are."""

from __future__ import annotations

from locust import LoadTestShape, User, constant, task

from yolov8_loadtest.generator.pacing import KINDS
from yolov8_loadtest.generator.plugin import coordinator_of, generator_of


class ScenarioUser(User):
    """One user, source of requests, or camera of the scenario."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Choose the pacing of the scenario."""
        generator = generator_of(self.environment)
        self._pace = KINDS[generator.scenario.load.kind](generator)

    @task
    def ask(self) -> None:
        """Make one request."""
        self._pace.step()


class ScenarioShape(LoadTestShape):
    """Follows the scenario's stages; the first tick prepares the run, the last one ends it."""

    def reset_time(self) -> None:
        """Reset; Locust calls it when a run is requested, and again when it has begun."""
        super().reset_time()  # type: ignore[no-untyped-call]  # Locust has no types there
        if self.runner is not None:
            coordinator_of(self.runner.environment).reset()

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users now, and how many may be added a second; None at the end."""
        assert self.runner is not None
        return coordinator_of(self.runner.environment).tick()
