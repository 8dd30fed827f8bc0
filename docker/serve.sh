#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Serve a model repository with the settings of Triton's guide to secure deployment. Arguments become tritonserver's last
# options, so they override the others. Environment:
#   MODEL_REPOSITORY        folder to serve (default: /models)
#   TRITON_ADMIN_KEY        key of the restricted protocols, or TRITON_ADMIN_KEY_FILE, a file with it. Clients send it in
#                           HTTP header triton-admin-key or gRPC metadata triton-grpc-protocol-triton-admin-key. The
#                           default is a random key, so that nobody can use these protocols
#   TRITON_RESTRICTED       restricted protocols, separated by commas. Load tests read "statistics"
#   PLAYGROUND              "on" leaves model-repository and statistics open, which the playground reads through the proxy
#   TRITON_EXIT_TIMEOUT_S   longest time that requests in flight may take after the stop signal (default: 30)
#   TRITON_CUDA_POOL_BYTES  size of the memory pool on each GPU
#   TRITON_OPTIONS          further options of tritonserver, separated by spaces
#   CONFIG_NAME             custom model configuration for this kind of machine, such as l4: Triton reads
#                           MODEL/configs/l4.pbtxt where a model has it
set -eu

repository="${MODEL_REPOSITORY:-/models}"
# If no model has the configuration, Triton would serve config.pbtxt without a message. A repository in cloud storage is
# not checked.
if [ -n "${CONFIG_NAME:-}" ] && [ -d "$repository" ]; then
    found=
    for path in "$repository"/*/configs/"$CONFIG_NAME".pbtxt; do
        [ -f "$path" ] && found="$path"
    done
    if [ -z "$found" ]; then
        echo "error: CONFIG_NAME is $CONFIG_NAME, and no model in $repository has configs/$CONFIG_NAME.pbtxt" >&2
        exit 1
    fi
fi

# The python backend of 24.10 and older reads UINT8 tensors wrong with numpy 2, and says nothing.
case "${NVIDIA_TRITON_SERVER_VERSION:-}" in
    2[0-3].* | 24.0* | 24.10*)
        if python3 -c 'import numpy, sys; sys.exit(int(numpy.__version__.split(".")[0]) < 2)' 2>/dev/null; then
            echo "error: Triton $NVIDIA_TRITON_SERVER_VERSION corrupts images with numpy 2: use 24.11 or newer," \
                "or install 'numpy<2'" >&2
            exit 1
        fi
        ;;
esac

# nvidia-smi counts GPUs in this order, and CUDA the fastest first. All numbers of GPUs mean this order.
export CUDA_DEVICE_ORDER="${CUDA_DEVICE_ORDER:-PCI_BUS_ID}"

# What glibc does with memory, as yolov8-server sets it. It keeps freed memory, in bytes: by default, an image's memory
# goes back to the kernel, which zeroes it page by page for the next image. And it asks for huge pages, with which a
# network on a CPU takes less time.
export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_:-16777216}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-16777216}"
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
pools=
if [ -n "${TRITON_CUDA_POOL_BYTES:-}" ]; then
    count="$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU ' || true)"
    while [ "${count:-0}" -gt 0 ]; do
        count=$((count - 1))
        pools="--cuda-memory-pool-byte-size=$count:$TRITON_CUDA_POOL_BYTES $pools"
    done
fi

key="${TRITON_ADMIN_KEY:-}"
if [ -z "$key" ] && [ -n "${TRITON_ADMIN_KEY_FILE:-}" ]; then
    key="$(cat "$TRITON_ADMIN_KEY_FILE")"
fi
if [ -z "$key" ]; then
    key="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
fi
# The protocol "model-config" stays open because clients read the class names from it.
closed=model-repository,shared-memory,statistics,trace,logging
# Without model control, the protocol model-repository only lists the models.
[ "${PLAYGROUND:-off}" != on ] || closed=shared-memory,trace,logging
restricted="${TRITON_RESTRICTED:-$closed}:triton-admin-key=$key"

# shellcheck disable=SC2086  # pools and TRITON_OPTIONS have several words
exec tritonserver \
    --model-repository="$repository" \
    ${CONFIG_NAME:+--model-config-name="$CONFIG_NAME"} \
    --model-control-mode=none \
    --disable-auto-complete-config \
    --grpc-restricted-protocol="$restricted" \
    --http-restricted-api="$restricted" \
    --exit-timeout-secs="${TRITON_EXIT_TIMEOUT_S:-30}" \
    --metrics-config=summary_latencies=true \
    $pools \
    ${TRITON_OPTIONS:-} \
    "$@"
