"""Folded weights to whole numbers: scales measured on motion, rounding that makes up for itself.

equalise (channels of one size) -> ranges (how far 0 .. 127 reaches) -> rounding (weights) ->
quantise (level by level, the errors so far included). What int8 means is in
vp3d_export/int8/quantise.py.
"""
