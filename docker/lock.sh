#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Write the requirements of the images anew, with the versions of requirements.lock: sh docker/lock.sh (in the root).
set -eu
cd "$(dirname "$0")/.."

# What follows goes into an image whose Python is 3.12; hashes of all wheels of a version are listed.
compile() { # OUTPUT, then options; requirements on standard input
    output=$1
    shift
    "${UV:-.venv/bin/uv}" pip compile - --constraint requirements.lock --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet "$@" -o "$output" >/dev/null
}

# The image's own numpy stays.
printf 'opencv-python-headless\npillow\n' | compile docker/requirements-cpu.txt --no-deps

# What our own distributions depend on, as pyproject.toml has it; they themselves come from the checkout.
dependencies() { # PYPROJECT [EXTRA]
    .venv/bin/python - "$@" <<'PYTHON'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
wanted = [*project["dependencies"], *(r for e in sys.argv[2:] for r in project["optional-dependencies"][e])]
print(*(requirement for requirement in wanted if not requirement.startswith("yolov8-triton-")), sep="\n")
PYTHON
}
overrides=$(mktemp)
trap 'rm -f "$overrides"' EXIT
# torch comes as a build for the CPU, from an index of its own; the others as `make lock` leaves them out.
for name in torch torchvision opencv-python ultralytics-platform; do
    echo "$name ; sys_platform == 'never'"
done >"$overrides"

{ dependencies client/pyproject.toml; dependencies export/pyproject.toml; } |
    compile docker/requirements-export.txt --override "$overrides"
{ dependencies client/pyproject.toml; dependencies export/pyproject.toml ultralytics; echo opencv-python-headless; } |
    compile docker/requirements-ultralytics.txt --override "$overrides"
if [ -f loadtest/pyproject.toml ]; then
    { dependencies client/pyproject.toml; dependencies loadtest/pyproject.toml; } |
        compile docker/requirements-loadtest.txt --override "$overrides"
fi
