#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Serve a model repository as Triton's guide to secure deployment asks for. What is given as arguments comes last, so
# that it wins. From the environment:
#   MODEL_REPOSITORY        folder to serve; /models
#   TRITON_ADMIN_KEY        or a file, TRITON_ADMIN_KEY_FILE: what the restricted protocols ask for; without one nobody
#                           can use them. HTTP header triton-admin-key, gRPC triton-grpc-protocol-triton-admin-key
#   TRITON_RESTRICTED       the protocols; "statistics" is one, and load tests like to read it
#   TRITON_EXIT_TIMEOUT_S   how long requests in flight may take at the end; 30
#   TRITON_OPTIONS          more options, with blanks between
#   CONFIG_NAME             of this kind of machine, such as l4: Triton reads MODEL/configs/l4.pbtxt where a model has it
set -eu

repository="${MODEL_REPOSITORY:-/models}"
# Where no model has the name, Triton would serve config.pbtxt without a word. A repository in a cloud can't be looked at.
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

key="${TRITON_ADMIN_KEY:-}"
if [ -z "$key" ] && [ -n "${TRITON_ADMIN_KEY_FILE:-}" ]; then
    key="$(cat "$TRITON_ADMIN_KEY_FILE")"
fi
if [ -z "$key" ]; then
    key="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
fi
# The configuration stays readable: clients find the class names in it.
restricted="${TRITON_RESTRICTED:-model-repository,shared-memory,statistics,trace,logging}:triton-admin-key=$key"

# shellcheck disable=SC2086  # TRITON_OPTIONS are several
exec tritonserver \
    --model-repository="$repository" \
    ${CONFIG_NAME:+--model-config-name="$CONFIG_NAME"} \
    --model-control-mode=none \
    --disable-auto-complete-config \
    --grpc-restricted-protocol="$restricted" \
    --http-restricted-api="$restricted" \
    --exit-timeout-secs="${TRITON_EXIT_TIMEOUT_S:-30}" \
    --metrics-config=summary_latencies=true \
    ${TRITON_OPTIONS:-} \
    "$@"
