# SPDX-License-Identifier: Apache-2.0
"""Send the spans of one call to a collector of OpenTelemetry, where they meet Triton's spans of the same trace.

The program's span has a child for each part of the call, if the model was exported with --timings. Start a collector
that takes OTLP over HTTP on port 4318, and the server so:

yolov8-server build/repository -- --trace-config mode=opentelemetry --trace-config rate=1 \
    --trace-config level=TIMESTAMPS --trace-config opentelemetry,url=http://127.0.0.1:4318/v1/traces

pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
python examples/traced_call.py bus.jpg
"""

from __future__ import annotations

import argparse
import sys

from opentelemetry import trace

# The types of these packages are not checked: they are not in the environment of the tests.
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # type: ignore[import-not-found]
from opentelemetry.sdk.resources import Resource  # type: ignore[import-not-found]
from opentelemetry.sdk.trace import TracerProvider  # type: ignore[import-not-found]
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # type: ignore[import-not-found]

from yolov8_triton import Client, YoloTritonError

SERVICE = "traced-call"


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--url", default="localhost:8001")
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--collector", default="http://127.0.0.1:4318/v1/traces", help="where spans are sent")
    options = parser.parse_args()

    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=options.collector)))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer(SERVICE)
    with Client(options.url, model=options.model) as client:
        try:
            served = client.info()
            call = getattr(client, served.task.value)
            call(options.image)  # the first call opens what later ones use
            with tracer.start_as_current_span("call") as span:
                found = call(options.image, timings=served.timings)
        except YoloTritonError as exc:
            sys.exit(f"error: {exc}")
    provider.shutdown()  # sends what is left
    print(f"trace {span.get_span_context().trace_id:032x}: {found.summary()}")
    if found.timings is not None:
        print(found.timings.summary())


if __name__ == "__main__":
    main()
