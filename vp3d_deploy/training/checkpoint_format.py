"""What marks a file as a checkpoint of ours. checkpoint.py writes it, vp3d_export/families.py reads
it, and the latter needs no torch."""

FORMAT, VERSION = "vp3d-deploy", 1
