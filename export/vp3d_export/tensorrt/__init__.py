"""TensorRT engines from a bundle's ONNX graphs; needs TensorRT and a GPU, but no torch.

options.py      what a person may choose
api.py          every call into TensorRT that building takes
onnx_axes.py    graphs with fixed axes, and the names of their nodes
inspection.py   the precision of each layer, from what the engine inspector says
build.py        one engine: graph in, checked file out
engines.py      all engines of a bundle, compared with PyTorch, into its manifest
recorded.py     PyTorch's answers for a fixed set of clips, kept in the bundle
trtexec.py      the same build as a command of NVIDIA's own tool
resume.py       vp3d-export --resume-engines
"""
