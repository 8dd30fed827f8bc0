# SPDX-License-Identifier: Apache-2.0
"""Serve HTTP in front of Triton: POST an image, get its objects as JSON.

YOLOV8_TRITON_URL=localhost:8001 YOLOV8_TRITON_MODEL=yolov8n uvicorn --app-dir examples --port 8080 fastapi_app:app
curl --data-binary @bus.jpg 'localhost:8080/detect?conf=0.4'

Port 8000, uvicorn's default, is Triton's own for HTTP. localhost:8080/docs lets one send an image from the browser.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from yolov8_triton import (
    AsyncClient,
    DeadlineExceededError,
    InvalidInputError,
    ServerOverloadedError,
    ServerUnavailableError,
    YoloTritonError,
)

MAX_BYTES = 32 << 20
RETRY_AFTER_S = 1

STATUSES: tuple[tuple[type[YoloTritonError], int], ...] = (
    (InvalidInputError, 422),
    (ServerOverloadedError, 503),
    (ServerUnavailableError, 503),
    (DeadlineExceededError, 504),
    (YoloTritonError, 502),  # a missing model, another task, a refused credential: not the caller's fault
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client for all requests, in their event loop."""
    url = os.environ.get("YOLOV8_TRITON_URL", "localhost:8001").split()
    model = os.environ.get("YOLOV8_TRITON_MODEL", "yolov8n")
    timeout_s = float(os.environ.get("TIMEOUT_S", "5"))
    async with AsyncClient(url, model=model, timeout_s=timeout_s) as client:
        app.state.client = client
        yield


app = FastAPI(title="YOLOv8", lifespan=lifespan)


@app.exception_handler(YoloTritonError)
async def refuse(_: Request, error: YoloTritonError) -> JSONResponse:
    """Answer with the error's HTTP status; 503 has a Retry-After header."""
    status = next(code for kind, code in STATUSES if isinstance(error, kind))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return JSONResponse({"error": type(error).__name__, "detail": str(error)}, status, headers)


BODY = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
"""What /docs shows of the request's body, which FastAPI does not see: the function reads it itself."""


@app.post("/detect", openapi_extra={"requestBody": BODY})
async def detect(request: Request, conf: Annotated[float | None, Query(ge=0, le=1)] = None) -> dict[str, Any]:
    """Detect the objects in the image that is the request's body."""
    image = bytearray()
    async for part in request.stream():  # refuses a body that is too large before all of it has arrived
        image += part
        if len(image) > MAX_BYTES:
            raise HTTPException(413, f"at most {MAX_BYTES} bytes")
    client: AsyncClient = request.app.state.client
    found = await client.detect(bytes(image), conf=conf)
    return found.to_dict()


@app.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Report to a load balancer whether the model can answer."""
    client: AsyncClient = request.app.state.client
    is_ready = await client.is_ready(timeout_s=1)
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)
