# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many requests may wait in front of a member, and for how long."""

from __future__ import annotations

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_export.deployment import Deployment

MIN_BOUNDED_INSTANCES = 2
"""With any limit on its queue and one instance, Triton 2.51 lets requests lie for half a second beside an idle model:
with limits it no longer prepares a batch ahead, and nothing wakes its batcher when the instance is done."""

NETWORK_QUEUES = 2
"""How much longer than the first member's the network's queue may be: all that was let in at once has room."""


def bound_first(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the queue of the member that requests meet first; a request that is refused there has cost nothing."""
    config.instance_group[0].count = MIN_BOUNDED_INSTANCES
    _bound(config, deployment.queue_size, deployment)


def bound_network(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the network's queue, if that is possible.

    The first member is quicker and lets in what the network can't keep up with. Unlimited, the queue would grow until
    each answer comes after its caller's deadline.
    """
    if config.instance_group[0].count >= MIN_BOUNDED_INSTANCES:
        _bound(config, NETWORK_QUEUES * deployment.queue_size, deployment)


def is_bounded(config: pb.ModelConfig) -> bool:
    """Tell whether a member's queue has a limit of any kind."""
    return bool(config.dynamic_batching.default_queue_policy != pb.ModelQueuePolicy())


def _bound(config: pb.ModelConfig, size: int, deployment: Deployment) -> None:
    """A request may say that it waits for less time than others, since its caller does."""
    policy = config.dynamic_batching.default_queue_policy
    policy.max_queue_size = size
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = round(deployment.queue_timeout_s * 1e6)
    policy.allow_timeout_override = True
