#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Regenerate the requirements of the images with the versions of requirements.lock: sh docker/lock.sh (in the root).
set -eu
cd "$(dirname "$0")/.."

# The images have Python 3.12. The hashes of all wheels of a version are listed.
compile() { # OUTPUT, then options; requirements on standard input
    output=$1
    shift
    "${UV:-.venv/bin/uv}" pip compile - --constraint requirements.lock --python-version 3.12 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet "$@" -o "$output" >/dev/null
}

# Without dependencies, so that the image keeps its own numpy.
printf 'opencv-python-headless\npillow\n' | compile docker/requirements-cpu.txt --no-deps

# Print the dependencies of our distributions from pyproject.toml, without the distributions, which the images build.
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
# The image installs torch for the CPU from PyTorch's index. `make lock` leaves out the other two as well.
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
