"""What NVIDIA's own Python bindings say, held against what this project calls.

inventories/    names, signatures and deprecations of each TensorRT version and of pycuda, as JSON
extract.py      reads them from the real modules (in a process of its own)
bindings.py     downloads NVIDIA's wheels and makes them importable over stub libraries
inventory.py    an inventory as tests use it: is this name there, does it take these arguments
guarded.py      classes that have exactly the names of an inventory and check every call
double.py       a TensorRT made of guarded classes, whose engines run in ONNX Runtime
gpu_double.py   a GPU made of host memory: pycuda's driver API
driver_double.py        the CUDA driver on it: graphs, modules, launches on the simulated grid
simulated_kernels.py    the CUDA kernels, compiled for the host
"""
