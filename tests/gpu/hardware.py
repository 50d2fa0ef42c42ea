"""Whether there is hardware for the tests of this folder."""

from __future__ import annotations

import os

import pytest

from vp3d_deploy.engines.gpu import count_gpus

# The version of TensorRT whose double stands in for the real one; see conftest.py.
REHEARSED = os.environ.get("VP3D_GPU_REHEARSE")
# How many frames the run for drift has.
DRIFT_FRAMES = int(os.environ.get("VP3D_GPU_FRAMES", "3000"))


def skip_module_without_gpu(rehearsable: bool = False) -> None:
    """To be called when a module of tests is imported: one line for all of them.

    rehearsable: its tests run over the doubles of TensorRT and CUDA, too.
    """
    if rehearsable and REHEARSED is not None:
        return
    if count_gpus() == 0:
        pytest.skip("needs an NVIDIA GPU: the CUDA driver sees none", allow_module_level=True)
