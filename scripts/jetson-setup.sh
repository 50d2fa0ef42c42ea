#!/usr/bin/env bash
# Prepare a Jetson for vp3d-deploy: look at what is there, then do what is missing.
# docs/jetson.md says the same in words, with sources.
set -euo pipefail

usage() {
  cat <<'END'
usage: scripts/jetson-setup.sh [--dry-run] [--venv DIR] [--max-clocks]

Checks the board, JetPack, Python, CUDA, TensorRT, pycuda and the power mode, and then
  - installs with apt what is missing of TensorRT's Python bindings, trtexec and CUDA's compiler,
  - makes a virtual environment that sees the system's TensorRT, with vp3d-deploy and pycuda in it.

  --dry-run      check, and print the steps instead of doing them
  --venv DIR     the virtual environment (default: .venv)
  --max-clocks   lock the clocks at the highest that the power mode allows, for measuring;
                 the power mode itself is never changed
END
}

dry_run=0
max_clocks=0
venv=.venv
while (($#)); do
  case $1 in
    --dry-run) dry_run=1 ;;
    --max-clocks) max_clocks=1 ;;
    --venv)
      if (($# < 2)) || [[ -z $2 ]]; then
        echo "jetson-setup: --venv needs the name of a directory" >&2
        exit 2
      fi
      venv=$2
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "jetson-setup: unknown option $1; see --help" >&2
      exit 2
      ;;
  esac
  shift
done

# Tests set a root of their own, with the files of some board.
root=${JETSON_ROOT:-}
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
problems=0

found() { printf '  %-12s %s\n' "$1" "$2"; }
missing() {
  printf '  %-12s %s\n' "$1" "$2"
  problems=$((problems + 1))
}
step() {
  printf '+'
  printf ' %q' "$@"
  echo
  if ((!dry_run)); then "$@"; fi
}

# --- what is there -------------------------------------------------------------------------------

release_file=$root/etc/nv_tegra_release
if [[ ! -r $release_file ]]; then
  echo "jetson-setup: $release_file is not there: this is no Jetson with Jetson Linux" >&2
  exit 1
fi
release=$(head -n 1 "$release_file")
if [[ ! $release =~ R([0-9]+).*REVISION:\ *([0-9]+)\.([0-9]+) ]]; then
  echo "jetson-setup: $release_file says '$release', which names no release" >&2
  exit 1
fi
major=${BASH_REMATCH[1]}
minor=${BASH_REMATCH[2]}

# JetPack's name, its CUDA, TensorRT and Python, by Jetson Linux release.
case $major.$minor in
  35.[2-6]) jetpack=5.1 cuda=11.4 tensorrt=8.5 python=3.8 ;;
  36.[23]) jetpack=6.0 cuda=12.2 tensorrt=8.6 python=3.10 ;;
  36.*) jetpack="6.1 or 6.2" cuda=12.6 tensorrt=10.3 python=3.10 ;;
  38.[23]) jetpack=7.0 cuda=13.0 tensorrt=10.13 python=3.12 ;;
  38.*) jetpack=7.1 cuda=13.0 tensorrt=10.13 python=3.12 ;;
  39.*) jetpack=7.2 cuda=13.2 tensorrt=10.16 python=3.12 ;;
  *)
    echo "jetson-setup: Jetson Linux $major.$minor is not one of JetPack 5.1 to 7.2, which this" \
      "script knows; docs/jetson.md says what is needed" >&2
    exit 1
    ;;
esac

echo "found:"
if [[ -r $root/proc/device-tree/model ]]; then
  found board "$(tr -d '\0' <"$root/proc/device-tree/model")"
fi
found JetPack "$jetpack (Jetson Linux $major.$minor: CUDA $cuda, TensorRT $tensorrt)"

apt_packages=()
installed() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

# The system's own Python is the one that TensorRT's bindings were built for.
interpreter=python$python
if version=$("$interpreter" --version 2>/dev/null); then
  found Python "$version"
else
  missing Python "$interpreter is not there, which JetPack $jetpack comes with"
fi
if ! installed "python$python-venv"; then apt_packages+=("python$python-venv"); fi
# pycuda and the native engine are compiled here.
if ! installed "python$python-dev"; then apt_packages+=("python$python-dev"); fi
if ! command -v g++ >/dev/null; then apt_packages+=(build-essential); fi

cuda_home=$root/usr/local/cuda
if [[ -x $cuda_home/bin/nvcc ]]; then
  found CUDA "$cuda_home"
else
  missing CUDA "$cuda_home/bin/nvcc is not there, which compiling pycuda needs"
  apt_packages+=("cuda-toolkit-${cuda/./-}")
fi

for package in python3-libnvinfer libnvinfer-bin; do
  if installed "$package"; then
    found TensorRT "$package $(dpkg-query -W -f='${Version}' "$package")"
  else
    missing TensorRT "$package is not installed"
    apt_packages+=("$package")
  fi
done

if command -v nvpmodel >/dev/null; then
  found "power mode" "$(nvpmodel -q 2>/dev/null | sed -n 's/^NV Power Mode: *//p')"
fi
for program in tegrastats jetson_clocks; do
  if command -v $program >/dev/null; then
    found $program "$(command -v $program)"
  else
    missing $program "is not there; energy and clocks cannot be measured and held"
  fi
done

if [[ $python == 3.8 ]]; then
  cat >&2 <<END

jetson-setup: JetPack $jetpack has TensorRT's Python bindings for Python 3.8 alone, and vp3d-deploy
needs 3.10. On this board the native engine and ONNX Runtime run in a Python 3.10 of your own;
for TensorRT move to JetPack 6, or build its bindings for 3.10 (docs/jetson.md).
END
  exit 1
fi

# --- what is to do -------------------------------------------------------------------------------

echo
if ((dry_run)); then echo "would do:"; else echo "doing:"; fi
if ((${#apt_packages[@]})); then
  step sudo apt-get update
  step sudo apt-get install --yes "${apt_packages[@]}"
fi
if [[ ! -x $venv/bin/python ]]; then
  # With the system's packages, of which TensorRT's bindings are one.
  step "$interpreter" -m venv --system-site-packages "$venv"
fi
step "$venv/bin/python" -m pip install --upgrade pip
# pycuda finds CUDA by nvcc on the PATH, and its headers and libraries by the others.
echo "+ export PATH=$cuda_home/bin:\$PATH CUDA_ROOT=$cuda_home CPATH=$cuda_home/include" \
  "LIBRARY_PATH=$cuda_home/lib64:$cuda_home/lib64/stubs"
export PATH=$cuda_home/bin:$PATH CUDA_ROOT=$cuda_home CPATH=$cuda_home/include
export LIBRARY_PATH=$cuda_home/lib64:$cuda_home/lib64/stubs
step "$venv/bin/python" -m pip install pycuda
# What vp3d-bench prints and draws with, but none of the peers that it can measure beside.
step "$venv/bin/python" -m pip install "$project" rich matplotlib
step "$venv/bin/python" -c 'import tensorrt, pycuda.driver as cuda
cuda.init()
print("TensorRT", tensorrt.__version__, "on", cuda.Device(0).name())'
if ((max_clocks)); then step sudo jetson_clocks; fi

echo
if ((dry_run)); then
  echo "nothing was changed; $problems missing"
else
  echo "ready: $venv/bin/vp3d-bench BUNDLE --power"
fi
