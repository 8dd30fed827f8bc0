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
        """Take up the rhythm that the scenario has."""
        generator = generator_of(self.environment)
        self._pace = KINDS[generator.scenario.load.kind](generator)

    @task
    def ask(self) -> None:
        """Make one request."""
        self._pace.step()


class ScenarioShape(LoadTestShape):
    """The scenario's stages; its first tick prepares the run, its last one ends it."""

    def reset_time(self) -> None:
        """Begin anew; Locust calls it when a run is asked for, and once more when it has begun."""
        super().reset_time()  # type: ignore[no-untyped-call]  # Locust has no types there
        if self.runner is not None:
            coordinator_of(self.runner.environment).reset()

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there have to be now, and how many may be added in a second; None at the end."""
        assert self.runner is not None
        return coordinator_of(self.runner.environment).tick()
