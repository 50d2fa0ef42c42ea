# make demo   set up, export the demo checkpoint, lift a built-in clip, draw it
# make test   set up, lint, types, Python and C++ tests
# make setup  the virtual environment alone (.venv, with everything a CPU machine can use)
# make bench  the first benchmark: ONNX Runtime on our graphs beside a plain export

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The native engine is compiled by the installation, and again when its sources change.
NATIVE := $(shell find kernels -name '*.[ch]pp' -not -path '*/tests/*' -o -name '*.cmake')
DEMO := build/demo

.PHONY: bindings pycuda-inventory setup demo test lint types test-python test-cpp bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt CMakeLists.txt kernels/CMakeLists.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --editable ".[export,train,eval,render,bench,dev]"
	touch $@

demo: $(READY)
	@mkdir -p $(DEMO)
	$(BIN)/vp3d-export --ckpt export/vp3d_export/assets/demo_27f.pth --fp16 --lag 0 full \
	  --out $(DEMO)/demo.vp3d
	$(BIN)/vp3d-lift $(DEMO)/demo.vp3d builtin:walking -o $(DEMO)/walking.npz \
	  -o $(DEMO)/walking.bvh --render $(DEMO)/walking.mp4 --render $(DEMO)/walking.png
	@echo
	@echo "bundle    $(DEMO)/demo.vp3d"
	@echo "poses     $(DEMO)/walking.npz, $(DEMO)/walking.bvh"
	@echo "pictures  $(DEMO)/walking.mp4, $(DEMO)/walking.png"

test: lint types test-python test-cpp

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

test-python: $(READY) bindings
	$(BIN)/python -m pytest

# NVIDIA's TensorRT bindings of each version, to compare tests/tensorrt_contract with; without a
# network the tests say that they did not.
bindings: $(READY)
	PYTHONPATH=tests $(BIN)/python -m tensorrt_contract.bindings fetch

# pycuda is compiled from source, which takes minutes and a CUDA toolkit.
pycuda-inventory: $(READY)
	PYTHONPATH=tests $(BIN)/python -m tensorrt_contract.pycuda_build build
	PYTHONPATH=tests $(BIN)/python -m tensorrt_contract.pycuda_build write

test-cpp: $(READY)
	$(BIN)/cmake -S . -B build/cpp -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVP3D_BUILD_TESTS=ON
	$(BIN)/cmake --build build/cpp
	$(BIN)/ctest --test-dir build/cpp --output-on-failure

bench: $(READY)
	$(BIN)/python -m vp3d_bench.first_look

clean:
	rm -rf build $(VENV)
