"""python -m vp3d_bench: the same as the command vp3d-bench."""

import sys

from vp3d_bench.cli import main

sys.exit(main())
