# make demo   set up, export the demo checkpoint, lift a built-in clip, draw it
# make test   set up, lint, types, Python and C++ tests; the latter also with sanitizers and, where
#             a cross-compiler and an emulator are installed, for AArch64
# make setup  the virtual environment alone (.venv, with everything a CPU machine can use)
# make bindings          fetch NVIDIA's TensorRT bindings, which the tests compare with
# make pycuda-inventory  compile pycuda, and write anew what the tests know of it
# make gpu    everything about this machine's NVIDIA GPU, and one file to send (docs/gpu.md)
# make bench  measure a network of 243 frames and 1024 channels beside what one would use instead

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The native engine is compiled by the installation, and again when its sources change.
NATIVE := $(shell find kernels \( -name '*.[ch]pp' -o -name '*.cu*' \) -not -path '*/tests/*' \
  -not -path '*/examples/*' -o -name '*.cmake' -not -path '*/tests/*')
DEMO := build/demo
BENCH := build/bench

# What is needed to cross-compile to AArch64 and to run that here.
AARCH64_TOOLS := aarch64-linux-gnu-g++ qemu-aarch64
AARCH64_MISSING := $(strip $(foreach tool,$(AARCH64_TOOLS),$(if $(shell command -v $(tool)),,$(tool))))
AARCH64_NOT_RUN = AArch64 tests NOT RUN, for want of $(AARCH64_MISSING); install with: \
  apt install g++-aarch64-linux-gnu qemu-user
AARCH64_BUILT := $(if $(AARCH64_MISSING),,build-aarch64)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NINJA := $(CURDIR)/$(BIN)/ninja
CONFIGURE := $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(NINJA) \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVP3D_BUILD_TESTS=ON
CTEST := $(BIN)/ctest --output-on-failure --parallel 2 --test-dir
# As many jobs as there are cores, of make and of all its ninjas together: ninja asks make for each.
BESIDE := +$(MAKE) --no-print-directory --jobs=$(shell nproc)

# pip compiles in the folder of the C++ tests, with their cmake, ninja and options, so that what it
# needs of the engine and the CUDA kernels is compiled once.
TESTED := build/cpp
CONFIGURE_TESTED := $(CONFIGURE) -B $(TESTED) -DCMAKE_BUILD_TYPE=Release '-USKBUILD*' \
  -DVP3D_BUILD_PYTHON=OFF -DVP3D_INSTALL=ON
OF_PIP := build-dir=$(TESTED) build.targets=kernels/python/all;kernels/cuda/all \
  cmake.define.CMAKE_MAKE_PROGRAM=$(NINJA) \
  cmake.define.VP3D_BUILD_PYTHON=ON cmake.define.VP3D_BUILD_TESTS=ON cmake.define.VP3D_INSTALL=OFF

.PHONY: bindings pycuda-inventory setup packages engine demo test checked lint types test-python \
  build-cpp build-asan build-tsan build-aarch64 compiled \
  test-cpp test-asan test-tsan test-aarch64 bench gpu clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt CMakeLists.txt kernels/CMakeLists.txt $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(PIP) ninja cmake
	$(BESIDE) packages engine
	PATH="$$($(BIN)/python -c 'import cmake; print(cmake.CMAKE_BIN_DIR)'):$$PATH" \
	  $(PIP) $(OF_PIP:%='--config-settings=%') --no-deps --editable .
	touch $@

# The project without what is compiled, and everything that it wants installed.
packages:
	$(PIP) --config-settings=cmake.define.VP3D_NATIVE=OFF --config-settings=build-dir=build/packages \
	  --editable ".[export,train,eval,render,bench,dev]"

engine:
	$(CONFIGURE_TESTED)
	+$(NINJA) -C $(TESTED) --quiet vp3d_cpu kernels/cuda/all

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

# What is compiled takes the cores that Python's checks leave. Tests run one part after the other:
# threads that wait for each other by spinning want cores of their own.
test: $(READY)
	$(BESIDE) checked types compiled
	$(CTEST) $(TESTED)
	$(CTEST) build/asan
	$(RUN_TSAN)
	$(RUN_AARCH64)

# One recipe: make would start whatever does not wait for the bindings before Python's tests.
checked: $(READY)
	$(LINT)
	$(FETCH_BINDINGS)
	$(PYTEST)

compiled: build-cpp build-asan build-tsan $(AARCH64_BUILT)

define LINT
$(BIN)/ruff check .
$(BIN)/ruff format --check .
endef
lint: $(READY)
	$(LINT)

types: $(READY)
	$(BIN)/mypy

# One thread for the libraries that tests compare with: on small networks more only get in the way.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest
test-python: $(READY) bindings
	$(PYTEST)

# NVIDIA's TensorRT bindings of each version, to compare tests/tensorrt_contract with; without a
# network the tests say that they did not.
FETCH_BINDINGS = PYTHONPATH=tests $(BIN)/python -m tensorrt_contract.bindings fetch
bindings: $(READY)
	$(FETCH_BINDINGS)

# pycuda is compiled from source, which takes minutes and a CUDA toolkit.
pycuda-inventory: $(READY)
	PYTHONPATH=tests $(BIN)/python -m tensorrt_contract.pycuda_build build
	PYTHONPATH=tests $(BIN)/python -m tensorrt_contract.pycuda_build write

build-cpp: $(READY)
	$(CONFIGURE_TESTED)
	+$(NINJA) -C $(TESTED) --quiet

test-cpp: build-cpp
	$(CTEST) $(TESTED)

# The same tests and short runs of the fuzzers, where every access to memory and every computation
# is checked: AVX2's kernels and the portable ones. Those of AVX-512 are the same templates with
# other sizes, and take a minute longer to compile.
build-asan: $(READY)
	$(CONFIGURE) -B build/asan -DVP3D_SANITIZE=address,undefined -DVP3D_ISAS=avx2 -DVP3D_CUDA=OFF \
	  -DVP3D_BUILD_FUZZERS=ON
	+$(NINJA) -C build/asan --quiet

test-asan: build-asan
	$(CTEST) build/asan

# What threads do to each other; readers of files use none. Only what is run is compiled.
TSAN_TESTS := threads engine live cuda_image cuda_layout cuda_stream cuda_splits cuda_clip \
  cuda_processing
RUN_TSAN := $(CTEST) build/tsan -R 'threads|engine|live|cuda'
build-tsan: $(READY)
	$(CONFIGURE) -B build/tsan -DVP3D_SANITIZE=thread -DVP3D_ISAS=avx2 -DVP3D_CUDA=OFF
	+$(NINJA) -C build/tsan --quiet live $(TSAN_TESTS:%=test_%)

test-tsan: build-tsan
	$(RUN_TSAN)

ifeq ($(AARCH64_MISSING),)
RUN_AARCH64 := $(CTEST) build/aarch64
build-aarch64: $(READY)
	$(CONFIGURE) -B build/aarch64 -DVP3D_CUDA=OFF \
	  -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/kernels/cmake/aarch64-toolchain.cmake
	+$(NINJA) -C build/aarch64 --quiet

test-aarch64: build-aarch64
	$(RUN_AARCH64)
else
RUN_AARCH64 := @echo "$(AARCH64_NOT_RUN)" >&2
test-aarch64:
	@echo "$(AARCH64_NOT_RUN)" >&2; exit 1
endif

bench: $(READY)
	@mkdir -p $(BENCH)
	$(BIN)/python -m vp3d_bench.networks $(BENCH)/243f_1024.vp3d
	$(BIN)/python -m vp3d_bench $(BENCH)/243f_1024.vp3d -o $(BENCH)/243f_1024.json

# WHEELHOUSE=DIR installs without a network; SYSTEM_TORCH=1 uses the packages of $(PYTHON);
# GPU_ARGS="--only tests" and others: python3 -m vp3d_bench.gpu_report --help.
gpu:
	@PYTHONPATH=bench $(PYTHON) -m vp3d_bench.gpu_report \
	  $(if $(WHEELHOUSE),--wheelhouse "$(WHEELHOUSE)") $(if $(SYSTEM_TORCH),--system-torch) \
	  $(GPU_ARGS)

clean:
	rm -rf build $(VENV)
