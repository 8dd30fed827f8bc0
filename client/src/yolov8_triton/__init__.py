# SPDX-License-Identifier: Apache-2.0
"""Typed client of YOLOv8 models that Triton serves: an image goes in, objects in its own pixels come out."""

from yolov8_triton._transport import quiet_grpc  # noqa: F401  (before anything that imports gRPC)

# isort: split
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_triton._async_client import AsyncClient, AsyncImages
from yolov8_triton._calls import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, DEFAULT_URL
from yolov8_triton._cameras.areas import Crossing
from yolov8_triton._cameras.camera import Camera, CameraSource, Line, Zone
from yolov8_triton._cameras.channel import CameraFrame
from yolov8_triton._cameras.hub import CameraFrames, hub
from yolov8_triton._cameras.statistics import CameraStatistics
from yolov8_triton._canary.comparison import CanaryLimits, Verdict
from yolov8_triton._canary.control import ModelControl, RolloutError
from yolov8_triton._canary.mirror import Canary, CanaryReport
from yolov8_triton._client import Client
from yolov8_triton._drawing.draw import draw
from yolov8_triton._errors import (
    AccessRefusedError,
    ContractMismatchError,
    DeadlineExceededError,
    InvalidImageError,
    InvalidInputError,
    InvalidParameterError,
    ModelNotFoundError,
    ServerDrainingError,
    ServerOverloadedError,
    ServerUnavailableError,
    SharedMemoryError,
    TlsError,
    WrongTaskError,
    YoloTritonError,
)
from yolov8_triton._failover import RetryPolicy
from yolov8_triton._headers import AsyncToken, Token
from yolov8_triton._images import ArrayFormat, Channels, ImageInput, Pixels
from yolov8_triton._options import CallOptions, PredictCallOptions, PredictOptions
from yolov8_triton._results.class_probabilities import ClassProbabilities, ClassScore
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.objects import COCO_CATEGORY_IDS, DetectedObjects, Index
from yolov8_triton._results.outcome import Outcome, Result
from yolov8_triton._results.timings import Timings
from yolov8_triton._transport.connection import ChannelArgument, Compression, Tls
from yolov8_triton._video.source import FrameSource, VideoError, VideoInfo
from yolov8_triton._video.tracking import Tracker
from yolov8_triton._video.video import Frame, Frames, VideoSource, video
from yolov8_triton._video.writer import VideoWriter

__version__ = "0.1.0"

__all__ = [
    "COCO_CATEGORY_IDS",
    "DEFAULT_MODEL",
    "DEFAULT_TIMEOUT_S",
    "DEFAULT_URL",
    "AccessRefusedError",
    "ArrayFormat",
    "AsyncClient",
    "AsyncImages",
    "AsyncToken",
    "CallOptions",
    "Camera",
    "CameraFrame",
    "CameraFrames",
    "CameraSource",
    "CameraStatistics",
    "Canary",
    "CanaryLimits",
    "CanaryReport",
    "ChannelArgument",
    "Channels",
    "ClassProbabilities",
    "ClassScore",
    "Client",
    "Compression",
    "ContractMismatchError",
    "Crossing",
    "DeadlineExceededError",
    "DetectedObjects",
    "Detections",
    "Frame",
    "FrameSource",
    "Frames",
    "ImageInput",
    "Index",
    "InvalidImageError",
    "InvalidInputError",
    "InvalidParameterError",
    "Line",
    "ModelControl",
    "ModelNotFoundError",
    "OrientedBoxes",
    "Outcome",
    "Pixels",
    "Poses",
    "PredictCallOptions",
    "PredictOptions",
    "Result",
    "RetryPolicy",
    "RolloutError",
    "Segmentations",
    "ServedModel",
    "ServerDrainingError",
    "ServerOverloadedError",
    "ServerUnavailableError",
    "SharedMemoryError",
    "Task",
    "Timings",
    "Tls",
    "TlsError",
    "Token",
    "Tracker",
    "Verdict",
    "VideoError",
    "VideoInfo",
    "VideoSource",
    "VideoWriter",
    "WrongTaskError",
    "YoloTritonError",
    "Zone",
    "draw",
    "hub",
    "video",
]
