"""Folded weights to whole numbers: scales measured on motion, rounding that makes up for itself.

equalise (loud channels made quieter) -> rounding (weights) -> quantise (level by level, the errors
so far included). What int8 means is in vp3d_export/int8/quantise.py; what each measure is worth, in
bench/results/int8_accuracy.json.
"""
