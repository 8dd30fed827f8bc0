# SPDX-License-Identifier: Apache-2.0
"""Programs in place of trtexec and nvidia-smi, and what `build_plans.py` is asked to build."""

from __future__ import annotations

from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docker" / "build_plans.py"
CONFIG = Path(__file__).parents[1] / "model_repository_gpu" / "yolov8n_network" / "config.pbtxt"
PLAN = b"ftrt and the rest"

TRTEXEC = """#!/bin/sh
case "$*" in *--help*) echo "&&&& RUNNING TensorRT.trtexec [TensorRT v110400] # trtexec --help"
  echo "${OPTIONS:---stronglyTyped --profile=N}"; exit 0;; esac
echo "order $CUDA_DEVICE_ORDER" >> "$LOG"
for argument in "$@"; do
  echo "$argument" >> "$LOG"
  case "$argument" in --saveEngine=*) printf '%s' "$PLAN" > "${argument#--saveEngine=}";; esac
done
exit "${FAILS:-0}"
"""
NVIDIA_SMI = '#!/bin/sh\necho "${GPU:-NVIDIA L4}, 8.9, 580.95.05"\n'
