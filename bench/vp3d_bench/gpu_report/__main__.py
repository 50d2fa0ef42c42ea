"""python -m vp3d_bench.gpu_report; `make gpu` calls it."""

import sys

from vp3d_bench.gpu_report.command import main

sys.exit(main())
