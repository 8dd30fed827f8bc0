#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run a command with CONFIG_NAME set to the name of this machine's GPU, as NVIDIA's GPU feature discovery writes it into
# the node's label nvidia.com/gpu.product: `of_gpu.sh serve.sh` on an L4 serves the custom model configuration NVIDIA-L4.
# A MIG slice adds its profile (NVIDIA-H100-80GB-HBM3-MIG-1g.10gb). That several pods share a GPU, which the label may
# say as -SHARED, can't be seen here and changes no plan.
set -eu

# A pod sees the GPUs that it was given, all of one kind.
found="$(nvidia-smi --query-gpu=name --format=csv,noheader)" || {
    echo "error: nvidia-smi ended with $?: $found; the name of the GPU chooses the custom model configuration, so the pod" \
        "needs a GPU and the driver's utilities (NVIDIA_DRIVER_CAPABILITIES with utility)" >&2
    exit 1
}
# The label keeps letters, digits, and the three signs; words are joined by hyphens.
name="$(echo "$found" | head -n 1 | tr -cd 'A-Za-z0-9_. \n-' | awk '{$1 = $1; gsub(/ /, "-"); print}')"
slice="$(nvidia-smi --list-gpus | sed -n 's/^ *MIG \([0-9a-z.+]*\) .*/\1/p' | head -n 1)"
if [ -z "$name" ] || [ "$(echo "$found" | sort -u | wc -l)" -ne 1 ]; then
    echo "error: nvidia-smi named the GPUs '$found', expected one kind; give the pod one kind of GPU, or set CONFIG_NAME" >&2
    exit 1
fi
CONFIG_NAME="$name${slice:+-MIG-$slice}"
export CONFIG_NAME
exec "$@"
