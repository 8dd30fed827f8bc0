# SPDX-License-Identifier: Apache-2.0
"""Where the time of one call went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

from yolov8_contract.timings import CHECK, STARTED

_SERVER = ("check_ms", "decode_ms", "letterbox_ms", "tiles_ms", "network_ms", "postprocess_ms")
"""The parts that the server measures, in the order of the tensor."""
_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one call went, in milliseconds. The parts, which are all fields but the first, add up to it.

    The server measures the parts from ``check_ms`` to ``postprocess_ms``. None stands for a part that it can't measure;
    the time is in the part that is named here.

    Attributes:
        total_ms: The whole call, as the caller waited for it.
        client_ms: In this process: the image was read or compressed, and the answer was read. On the first call of a
            client, also the question for the model's description.
        queue_ms: From sending until the first composing model took the request: the connection, Triton's front end, the
            queue, and attempts at other servers. It ends by the server's clock, so an offset between both clocks
            shifts time between ``queue_ms`` and ``answer_ms``; their sum is exact.
        check_ms: The parameters and the image's header were checked.
        decode_ms: The image was decoded. None with DALI: ``network_ms`` has it.
        letterbox_ms: The image became the network's input. None with DALI: ``network_ms`` has it.
        tiles_ms: All tiles but the first went through the network; 0 without ``slice``.
        network_ms: From preprocess to postprocess: the network, its queue, Triton's copies, and the wait for others of
            the batches. None for a classifier: ``answer_ms`` has it.
        postprocess_ms: Boxes were decoded, NMS, and masks. None for a classifier, which has none.
        answer_ms: From postprocess until the answer was here.
    """

    total_ms: float
    client_ms: float
    queue_ms: float
    check_ms: float
    decode_ms: float | None
    letterbox_ms: float | None
    tiles_ms: float
    network_ms: float | None
    postprocess_ms: float | None
    answer_ms: float

    @classmethod
    def of(cls, times: Sequence[float], *, total_ms: float, round_trip_ms: float, sent_ms: float) -> Timings:
        """Return the timings of a call.

        Args:
            times: The values of ``yolov8_contract.timings.NAMES`` in the answer.
            total_ms: The time of the call.
            round_trip_ms: The time from sending the request until the answer was here.
            sent_ms: When the request was sent, in milliseconds since 1970.
        """
        server = {name: None if value < 0 else value for name, value in zip(_SERVER, times[CHECK:], strict=True)}
        outside = max(0.0, round_trip_ms - sum(filter(None, server.values())))
        queue = min(max(times[STARTED] - sent_ms, 0.0), outside)
        client = total_ms - round_trip_ms
        return cls(total_ms=total_ms, client_ms=client, queue_ms=queue, answer_ms=outside - queue, **server)  # type: ignore[arg-type]

    def parts(self) -> Iterator[tuple[str, float]]:
        """Yield the name and the milliseconds of each part that was measured, in the order in which they came."""
        for field in fields(self)[1:]:
            if (value := getattr(self, field.name)) is not None:
                yield field.name.removesuffix("_ms"), value

    def summary(self) -> str:
        """Return the parts as text: ``31.2 ms: client 0.4, queue 1.2, check 0.1, decode 3.1, ...``."""
        return f"{self.total_ms:.1f} ms: " + ", ".join(f"{name} {value:.1f}" for name, value in self.parts())

    def to_dict(self) -> dict[str, float | None]:
        """Return plain values, ready for JSON, to a microsecond."""
        return {name: None if value is None else round(value, _DIGITS) for name, value in asdict(self).items()}
