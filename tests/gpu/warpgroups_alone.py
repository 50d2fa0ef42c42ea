"""Kernels for warpgroups, held to the definition, in a process that a fault in them may end.

    python warpgroups_alone.py FOLDER PRECISION

Prints one line for each form: its name and how far it is from the definition, mm.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpu.answers import Truth, distance_mm, stream_distance_mm
from gpu.conftest import rehearse
from gpu.networks import make_bundle

from vp3d_deploy.engines import cuda_program, open_engine
from vp3d_deploy.engines.cuda_processing import Processing
from vp3d_deploy.engines.cuda_program import planned_for


def main(folder: Path, precision: str) -> None:
    bundle = make_bundle(folder, "tiles")
    with pytest.MonkeyPatch.context() as patch:
        gpu_double = rehearse(patch, hopper=True)
        engine = open_engine(bundle, "cuda", precision, launch="wide", warpgroups=True)
        truth = Truth.of(bundle, 1, 300)
        with engine.gpu.active():  # so that no other kernel answers, whatever is chosen by price
            clips = engine._make_clips(Processing())
            poses = clips.answers_of("group", truth.padded())
            clips.close()
        lookahead = bundle.spec.lookahead
        for frame in (0, 150, 299):
            print("sequence", distance_mm(poses[:, frame], truth.live(frame, lookahead)))
        crowd = Truth.of(bundle, 300, 3)
        print("stream", stream_distance_mm(engine, crowd, 0, {0, 2}))
        split = partial(planned_for, shape="group", splits=2)
        patch.setattr(cuda_program, "planned_for", split)  # of lags that are not open yet
        print("splits", stream_distance_mm(engine, crowd, 1, {0, 2}))
        engine.close()
        if gpu_double is not None:
            assert gpu_double.gpu.faults == []


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
