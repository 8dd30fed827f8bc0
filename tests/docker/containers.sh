# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Sourced: lets buildah and podman keep all that they write in build/docker-test, and run where no rlimit may be raised.
folder="${DOCKER_TEST_DIR:-$PWD/build/docker-test}"
mkdir -p "$folder"
cat >"$folder/storage.conf" <<CONF
[storage]
driver = "vfs"
graphroot = "$folder/storage"
runroot = "$folder/run"
CONF
cat >"$folder/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[network]
network_backend = "netavark"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
cat >"$folder/policy.json" <<CONF
{"default": [{"type": "insecureAcceptAnything"}]}
CONF
export CONTAINERS_STORAGE_CONF="$folder/storage.conf"
export CONTAINERS_CONF="$folder/containers.conf"
export BUILDAH_ISOLATION=chroot
