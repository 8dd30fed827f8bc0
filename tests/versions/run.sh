#!/usr/bin/env bash
# Test the client with the lowest and the newest versions of its dependencies, on each Python given: outside the lock.
# usage: run.sh UV "PYTHONS" [pytest arguments]
set -euo pipefail
uv=$1 pythons=$2
shift 2
failed=()
# --no-config: the project's own settings of uv are for the lock.
install() { "$uv" pip install --quiet --no-config --python "$venv/bin/python" "$@"; }
for python in $pythons; do
    path=$("$uv" python find --no-config "$python")
    for resolution in ${RESOLUTIONS:-lowest-direct highest}; do
        name=$("$path" -c 'import sys; print("{}.{}".format(*sys.version_info))')-$resolution venv=build/versions/$name
        "$uv" venv --quiet --no-config --clear --python "$path" "$venv"
        install --resolution "$resolution" -e 'client[cli,draw,http,trace,video]'
        # The desktop build of OpenCV, which trackers asks for, would lie over the headless one.
        printf '%s\n' "opencv-python ; sys_platform == 'never'" 'numpy>=1.26' >"$venv/overrides"
        "$uv" pip freeze --quiet --no-config --exclude-editable --python "$venv/bin/python" >"$venv/constraints"
        install --overrides "$venv/overrides" --constraints "$venv/constraints" \
            trackers faster-coco-eval hypothesis 'pytest>=9' pytest-timeout trustme
        echo "== $name: $("$uv" pip freeze --no-config --python "$venv/bin/python" 2>/dev/null | grep -iE \
            '^(click|grpcio|httpcore|httpx|numpy|opencv|opentelemetry-api|pillow|protobuf|rich|supervision|tritonclient|typer)' |
            tr '\n' ' ')"
        # What newer versions warn of is shown, and fails nothing.
        "$venv/bin/python" -m pytest tests/unit/client -q -p no:cacheprovider -W default "$@" || failed+=("$name")
    done
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
