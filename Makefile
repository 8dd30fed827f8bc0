# The commands of this project, for people and CI. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(shell command -v $(p))))

WEIGHTS ?=
TASK ?= detect
REPOSITORY ?= build/repository
SCENARIO ?= steady
URL ?=
DEVICE ?= cpu
ARGS ?=
ENGINES ?=

# Ultralytics must never install packages by itself.
export YOLO_AUTOINSTALL := false

# The tests start some hundred interpreters; without stored byte code each compiles anew what it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

.PHONY: setup
setup: $(VENV)/ready ## Create .venv with all packages at the locked versions

# The lock is complete. Without --no-deps pip would install Ultralytics' GUI build of OpenCV over the headless one.
$(VENV)/ready: requirements.lock client/pyproject.toml export/pyproject.toml server/pyproject.toml loadtest/pyproject.toml
	@test "$$(uname -sm)" = "Linux x86_64" || { echo "setup needs Linux on x86-64, this is $$(uname -sm)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else \
	    f"setup needs Python 3.11 or 3.12, $(PYTHON) is {v[0]}.{v[1]}: make setup PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the locked packages (about 5 GB with torch, which takes a few minutes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
	    -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	    -e client -e export -e server -e loadtest
	@touch $@

# DEVICE=gpu: what needs no GPU is checked before 4 GB are installed.
DEVICE_PYTHON = $(if $(filter gpu,$(DEVICE)),build/gpu/bin/python,$(BIN)/python)

.PHONY: device
device: setup
	@test "$(DEVICE)" = cpu -o "$(DEVICE)" = gpu || { echo "error: DEVICE is '$(DEVICE)', expected cpu or gpu" >&2; exit 2; }
	@$(if $(filter gpu,$(DEVICE)),$(BIN)/python -m tests.gpu.device ready && $(MAKE) --no-print-directory build/gpu/ready)

.PHONY: demo
demo: device ## Detect in two photographs with a real Triton (WEIGHTS=file-or-name, TASK=segment, pose, obb or classify; DEVICE=gpu)
	@$(DEVICE_PYTHON) demo.py --task $(TASK) --device $(DEVICE) $(if $(WEIGHTS),--weights $(WEIGHTS))

.PHONY: check
check: setup ## Lint, prose, types, formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.prose
	$(BIN)/mypy -p yolov8_contract -p yolov8_triton -p yolov8_export -p yolov8_server -p yolov8_loadtest
	$(BIN)/mypy demo.py
	MYPYPATH=examples/driving $(BIN)/mypy examples

# Two processes with rooms of their own: workers of xdist would each import torch and collect all tests.
TESTS_WITHOUT_TORCH := $(patsubst %,tests/unit/%/,client loadtest plans server)
OTHER_TESTS := $(filter-out $(TESTS_WITHOUT_TORCH) %/__pycache__/,$(wildcard tests/unit/*/ tests/unit/test_*.py)) tests/repository
UNIT_TESTS = @echo "Testing in two processes; each prints what it has done at its end ..." && \
    $(MAKE) --no-print-directory --output-sync --keep-going --jobs=2 unit-without-torch unit-others

.PHONY: unit-without-torch unit-others
unit-without-torch: TESTS = $(TESTS_WITHOUT_TORCH)
unit-others: TESTS = $(OTHER_TESTS)
unit-without-torch unit-others:
	@YOLO_OFFLINE=true OMP_NUM_THREADS=1 $(BIN)/pytest $(UNIT_ARGS) $(TESTS)

.PHONY: test-fast
test-fast: setup ## Unit and repository tests that are quick, without a server: about a minute on two cores
ifneq ($(ARGS),)
	YOLO_OFFLINE=true OMP_NUM_THREADS=1 $(BIN)/pytest tests/unit tests/repository -m "not slow" $(ARGS)
else
	$(UNIT_TESTS) UNIT_ARGS="-m 'not slow'"
endif

.PHONY: test
test: setup ## Unit, repository and integration tests, with a real tritonserver (ARGS="-k slices" runs some, one by one)
ifneq ($(ARGS),)
	YOLO_OFFLINE=true $(BIN)/pytest $(ARGS)
else
	$(UNIT_TESTS)
	YOLO_OFFLINE=true OMP_NUM_THREADS=1 $(BIN)/pytest tests/integration -m "not alone" -n 2 --dist loadfile
	YOLO_OFFLINE=true $(BIN)/pytest tests/integration -m alone
endif

# uv finds each of them, or takes the path of an interpreter.
PYTHONS ?= $(foreach v,3.10 3.11 3.12 3.13 3.14,$(if $(shell python$(v) -c pass 2>/dev/null && echo $(v)),$(v)))

.PHONY: test-versions
test-versions: setup ## Test the client with the lowest and the newest dependencies (PYTHONS="3.10 3.13", in build/)
	tests/versions/run.sh $(BIN)/uv "$(PYTHONS)" $(ARGS)

.PHONY: parity
parity: setup $(if $(ENGINES),build/tensorflow/ready) ## Compare the served models with Ultralytics (needs YOLOV8_WEIGHTS_DIR and YOLOV8_COCO_DIR; ENGINES="openvino pytorch tensorflow")
	@test -n "$$YOLOV8_WEIGHTS_DIR" -a -n "$$YOLOV8_COCO_DIR" || { echo "parity needs YOLOV8_WEIGHTS_DIR (yolov8n.pt, \
	yolov8n-seg.pt, yolov8n-pose.pt, yolov8n-cls.pt) and YOLOV8_COCO_DIR (images/, instances.json)" >&2; exit 2; }
	YOLO_OFFLINE=true PARITY_ENGINES="$(ENGINES)" $(if $(ENGINES),build/tensorflow/bin/python,$(BIN)/python) -m pytest \
	    tests/parity -s --timeout 1200 $(ARGS)

.PHONY: docker-test
docker-test: setup ## Test images, compose file, proxy, Prometheus, dashboard as root on Debian/Ubuntu (tests/docker/README.md)
	tests/docker/run.sh $(ARGS)

.PHONY: kubernetes-test
kubernetes-test: setup ## Test chart and manifests for Kubernetes without a cluster (700 MB in build/, promtool; tests/kubernetes/README.md)
	tests/kubernetes/run.sh $(ARGS)

.PHONY: kubernetes-drill
kubernetes-drill: setup ## Replace servers behind a real Envoy under load, with the chart's settings (after kubernetes-test; ARGS=--kill)
	YOLO_OFFLINE=true $(BIN)/python -m tests.kubernetes.drain $(ARGS)

# It quantises networks to INT8; `make test-gpu` needs it on a GPU and in the rehearsal.
NNCF := nncf==3.4.0

# The DALI release in Triton's image at the time of writing; the newest release was 2.4.0.
DALI ?= 2.1.1

# The packages take precedence over those of .venv, where onnxruntime for the CPU stays as it is.
.PHONY: setup-gpu
setup-gpu: build/gpu/ready ## Create build/gpu, which serves on this machine's GPU without Docker (4 GB)

build/gpu/ready: $(VENV)/ready
	$(BIN)/python -m venv --clear build/gpu
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/gpu/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	build/gpu/bin/python -m pip install --quiet --disable-pip-version-check --no-compile 'numpy<2' \
	    'cupy-cuda13x==13.6.0' 'nvidia-dali-cuda130==2.4.0' 'onnxruntime-gpu[cuda,cudnn]==1.31.1' $(NNCF)
	@touch $@

# DALI's tests need numpy below 2, as the embedded server does; DALI takes both.
.PHONY: test-dali
test-dali: build/dali-$(DALI)/ready ## Test the gpu profile with real DALI on the CPU: graph and served ensemble, DALI=2.1.1 or another (1.3 GB in build/)
	YOLO_OFFLINE=true build/dali-$(DALI)/bin/python -m pytest tests/dali -W default $(ARGS)

build/dali-$(DALI)/ready: $(VENV)/ready
	$(BIN)/python -m venv --clear build/dali-$(DALI)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/dali-$(DALI)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	build/dali-$(DALI)/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
	    'numpy<2' nvidia-dali-cuda120==$(DALI) $(NNCF)
	@touch $@

NUMPY ?= 2.4.6

# NVIDIA's image has numpy 2, which the embedded server's python backend can't read tensors with.
.PHONY: test-numpy2
test-numpy2: build/numpy-$(NUMPY)/ready ## Test contract and model code with numpy 2, as in NVIDIA's image (90 MB in build/)
	YOLO_OFFLINE=true OMP_NUM_THREADS=1 build/numpy-$(NUMPY)/bin/python -m pytest tests/unit/contract tests/unit/preprocess \
	    tests/unit/check -n 2 --dist worksteal $(ARGS)

build/numpy-$(NUMPY)/ready: $(VENV)/ready
	$(BIN)/python -m venv --clear build/numpy-$(NUMPY)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/numpy-$(NUMPY)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	build/numpy-$(NUMPY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile numpy==$(NUMPY)
	@touch $@

GPU_VENV = $(if $(shell nvidia-smi -L 2>/dev/null),build/gpu,build/dali-$(DALI))

.PHONY: test-gpu
test-gpu: setup ## Prove the gpu profile on this machine's GPU; without one, rehearse on the CPU (tests/gpu/README.md)
	@$(MAKE) --no-print-directory $(GPU_VENV)/ready
	YOLO_OFFLINE=true $(GPU_VENV)/bin/python -m tests.gpu $(ARGS)

.PHONY: drills
drills: setup ## Attack a server in the ways that have ended one (ARGS="--share 0.02", ARGS="killed-models overload")
	@YOLO_OFFLINE=true $(BIN)/python -m tests.drills $(ARGS)

.PHONY: test-int8
test-int8: setup ## Export and serve INT8 networks with OpenVINO and NNCF (1 GB in build/)
	@test -e build/int8/ready || { $(BIN)/python -m venv --clear build/int8 && \
	    $(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/int8/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth" && \
	    build/int8/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
	    openvino==2026.4.1 $(NNCF) && touch build/int8/ready; }
	YOLO_OFFLINE=true build/int8/bin/python -m pytest tests/int8 --timeout 1200 $(ARGS)

.PHONY: test-traces
test-traces: setup ## Send the spans of a call and Triton's to a real collector of OpenTelemetry (50 MB in build/)
	@test -e build/traces/ready || { $(BIN)/python -m venv --clear build/traces && \
	    $(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/traces/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth" && \
	    build/traces/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
	    rotel==0.0.1a15 opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 && \
	    touch build/traces/ready; }
	YOLO_OFFLINE=true build/traces/bin/python -m pytest tests/traces -s $(ARGS)

# Ultralytics' own exporter of SavedModels needs onnx2tf and its packages, of which pip finds no set that agrees.
.PHONY: setup-tensorflow
setup-tensorflow: build/tensorflow/ready ## Create build/tensorflow, which exports and serves with TensorFlow and OpenVINO, too (2 GB)

build/tensorflow/ready: $(VENV)/ready
	$(BIN)/python -m venv --clear build/tensorflow
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/tensorflow/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	build/tensorflow/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
	    'numpy<2' openvino==2026.4.1 tensorflow-cpu==2.21.0 tf-keras==2.21.0
	build/tensorflow/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile --no-deps \
	    ai-edge-litert==2.3.0 backports.strenum==1.2.8 onnx2tf==1.28.8 onnx-graphsurgeon==0.6.1 onnxslim==0.1.98 \
	    sng4onnx==2.0.1
	@touch $@

.PHONY: test-tensorflow
test-tensorflow: build/tensorflow/ready ## Export and serve with TensorFlow, and all engines in one server (2 GB in build/)
	YOLO_OFFLINE=true build/tensorflow/bin/python -m pytest tests/tensorflow --timeout 1200 $(ARGS)

# Chromium is the system's; playwright's wheel has the driver alone.
.PHONY: test-browser
test-browser: setup ## Test the playground's page in a real Chromium (170 MB in build/; ARGS="-k keyboard"); pictures are in build/browser-shots
	@command -v "$${CHROMIUM:-/usr/bin/chromium}" > /dev/null || { echo "test-browser needs Chromium: apt-get install chromium, \
	or set CHROMIUM to its path" >&2; exit 2; }
	@test -e build/browser/ready || { $(BIN)/python -m venv --clear build/browser && \
	    $(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$(build/browser/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth" && \
	    build/browser/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
	    playwright==1.65.2 axe-playwright-python==0.1.8 && touch build/browser/ready; }
	YOLO_OFFLINE=true build/browser/bin/python -m pytest tests/browser $(ARGS)

.PHONY: test-mqtt
test-mqtt: setup ## Test the cameras' results in a real mosquitto (apt-get install mosquitto, or MOSQUITTO=path)
	@command -v "$${MOSQUITTO:-mosquitto}" > /dev/null || test -x /usr/sbin/mosquitto || { echo "test-mqtt needs mosquitto: \
	apt-get install mosquitto, or set MOSQUITTO to its path" >&2; exit 2; }
	$(BIN)/pytest tests/cameras $(ARGS)

.PHONY: export
export: setup ## Export WEIGHTS into REPOSITORY (ARGS="--imgsz 320 ...")
	@test -n "$(WEIGHTS)" || { echo "error: WEIGHTS is missing, for example: make export WEIGHTS=yolov8n.pt" >&2; exit 2; }
	$(BIN)/yolov8-export export $(WEIGHTS) --repository $(REPOSITORY) $(ARGS)

.PHONY: serve
serve: device ## Serve REPOSITORY with the embedded tritonserver (ARGS="--grpc-port 9001 ..."; DEVICE=gpu)
	$(if $(filter gpu,$(DEVICE)),$(DEVICE_PYTHON) -m tests.gpu.device serve,$(BIN)/yolov8-server) $(REPOSITORY) $(ARGS)

# REPOSITORY, or the demo's if `make export` has written none; the pictures of the demo, if it has run.
PLAYGROUND_REPOSITORY = $(if $(or $(filter-out file default,$(origin REPOSITORY)),$(wildcard $(REPOSITORY)/*/config.pbtxt)),\
    $(REPOSITORY),$(or $(wildcard build/demo/repository),$(REPOSITORY)))

.PHONY: playground
playground: setup ## Serve REPOSITORY, or the demo's, with a page that tries it out in a browser (ARGS="--playground 8080 ...")
	$(BIN)/yolov8-server $(PLAYGROUND_REPOSITORY) --playground \
	    $(if $(wildcard build/demo/photos),--playground-samples build/demo/photos) $(ARGS)

# The server of a load test: URL, or a local one with WEIGHTS, with REPOSITORY if `make export` has filled it, or with
# yolov8n; if yolov8n can't be downloaded, with this project's test weights.
SERVER = $(if $(URL),--url $(URL),$(if $(WEIGHTS),--weights $(WEIGHTS),$(if $(wildcard $(REPOSITORY)/*/config.pbtxt),\
    --repository $(REPOSITORY)))) --fallback-weights tests/benchmarks/fallback_weights.py

.PHONY: loadtest
loadtest: setup ## Run a load test (SCENARIO=steady, or another name or file; URL=host:port)
	@$(BIN)/python -m yolov8_loadtest run $(SCENARIO) $(SERVER) $(ARGS)

.PHONY: benchmark
benchmark: device ## Compare our ensemble with in-process pipelines and Ultralytics' own ways of serving (ARGS=--short; DEVICE=gpu)
ifeq ($(DEVICE),gpu)
	@$(DEVICE_PYTHON) -m tests.gpu.benchmark $(if $(WEIGHTS),--weights $(WEIGHTS)) $(ARGS)
else
	@$(BIN)/python -m yolov8_loadtest benchmark $(if $(URL),--url $(URL),$(if $(WEIGHTS),--weights $(WEIGHTS))) \
	    --fallback-weights tests/benchmarks/fallback_weights.py --baselines tests/benchmarks/ultralytics_baseline.py $(ARGS)
endif

.PHONY: mlperf
mlperf: setup ## Let MLPerf's LoadGen drive a served model (ARGS="--images FOLDER --truth FILE"; --full for its rules' length)
	@GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m yolov8_loadtest mlperf $(SERVER) $(ARGS)  # as the server has

.PHONY: benchmark-host
benchmark-host: setup ## Measure the processor time of the gpu profile besides its GPU, which need not be there (ARGS="--json host.json")
	@$(BIN)/python -m tests.benchmarks.host $(ARGS)

.PHONY: tune
tune: setup ## Find the fastest instances, threads, delay and batch on this machine (WEIGHTS=file-or-name)
	@$(BIN)/python -m yolov8_loadtest tune $(if $(WEIGHTS),--weights $(WEIGHTS)) --fallback-weights tests/benchmarks/fallback_weights.py $(ARGS)

.PHONY: reference
reference: setup ## Write the reference deployments' configurations again
	$(BIN)/yolov8-export reference

.PHONY: lock
lock: setup ## Resolve requirements.lock again
	$(BIN)/uv pip compile client/pyproject.toml export/pyproject.toml server/pyproject.toml loadtest/pyproject.toml \
	    --extra all --extra cameras --extra track --extra ultralytics --extra embedded \
	    --extra playground --extra benchmark --extra mlperf --group dev \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	    --no-emit-package yolov8-triton-client --no-emit-package yolov8-triton-server \
	    --no-emit-package yolov8-triton-loadtest --quiet $(ARGS) -o requirements.lock

.PHONY: clean
clean: ## Remove all files that make created, except for .venv
	rm -rf build dist .hypothesis .pytest_cache .mypy_cache .ruff_cache
