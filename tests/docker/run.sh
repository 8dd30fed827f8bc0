#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make docker-test`: installs what the tests need and this machine lacks, then runs them. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."

monitoring=(prometheus shellcheck)
containers=(buildah podman runc conmon catatonit netavark aardvark-dns iptables debootstrap)
missing() { # PACKAGE...: those that are not installed
    for package in "$@"; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || echo "$package"
    done
}
install() { # PACKAGE...
    local wanted
    wanted="$(missing "$@")"
    if [ -z "$wanted" ]; then return 0; fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "not installed, and only root on Debian or Ubuntu can have them installed here: ${wanted//$'\n'/ }" >&2
        return 1
    fi
    # shellcheck disable=SC2086
    { apt-get update && apt-get install -y --no-install-recommends $wanted; } >build/docker-test/apt.log 2>&1 || {
        tail -5 build/docker-test/apt.log >&2
        return 1
    }
}

mkdir -p build/docker-test
install "${monitoring[@]}"
tools=build/docker-test/tools
if ! cmp -s tests/docker/requirements.txt "$tools/requirements.txt"; then
    .venv/bin/python -m venv --clear "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir -r tests/docker/requirements.txt
    cp tests/docker/requirements.txt "$tools/"
fi

select=()
if ! install "${containers[@]}"; then
    echo "docker-test: WITHOUT the images and the composition: buildah and podman can't be installed here (see above)" >&2
    select=(--deselect tests/docker/test_images.py)
fi
YOLO_OFFLINE=true .venv/bin/pytest tests/docker --timeout 900 "${select[@]}" "$@"
