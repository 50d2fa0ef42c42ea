"""ONNX graphs of a folded network, one module per form; all point into one weights file."""
