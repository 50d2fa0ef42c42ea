"""kernels/tests/processing.txt, to which the CUDA kernels' first and last stages are held, says
what Python's do.

python tests/kernels/test_processing.py     writes the file anew
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vp3d_deploy.camera import Camera, camera_to_world, normalize_screen
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.skeleton import H36M_17, get_skeleton
from vp3d_deploy.skeleton_conversion import _conversion

GOLDEN = Path(__file__).parents[2] / "kernels" / "tests" / "processing.txt"
SOURCES = ("coco17", "halpe26", "body25", "h36m17")
SIZES = ((1000, 1002), (1920, 1080))


def test_golden_numbers_are_those_of_python() -> None:
    """Words alike, numbers as near as float32 has them on any machine."""
    recorded, now = (text.split() for text in (GOLDEN.read_text(), golden_text()))
    assert len(recorded) == len(now)
    for a, b in zip(recorded, now, strict=True):
        assert a == b or abs(float(a) - float(b)) <= 1e-6 * max(1.0, abs(float(b)))


def golden_text() -> str:
    parts = ["# Written by tests/kernels/test_processing.py from vp3d_deploy.\n"]
    rng = np.random.default_rng(6)
    for source in SOURCES:
        for size in SIZES:
            for features in (2, 3):
                parts.append(_case(source, size, features, rng))
    return "".join(parts)


def _case(source: str, size: tuple[int, int], features: int, rng: np.random.Generator) -> str:
    skeleton = get_skeleton(source)
    indices, shares = _conversion(skeleton, H36M_17)
    seen = rng.uniform(0, size, (skeleton.n_joints, 2)).astype(np.float32)
    scores = rng.uniform(0, 1, skeleton.n_joints).astype(np.float32)
    to_input = NetworkInput(skeleton, H36M_17, H36M_17, features)
    shown, _ = to_input(normalize_screen(seen, size), scores)
    camera = Camera(
        "made up", *size, (1100.0, 1100.0), (500.0, 500.0),
        rotation=_rotation(rng), position_m=rng.uniform(-5, 5, 3),
    )  # fmt: skip
    pose = rng.uniform(-1, 1, (17, 3)).astype(np.float32)
    root = rng.uniform(-1, 1, (1, 3)).astype(np.float32) + np.float32([0, 0, 5])
    incoming = seen if features == 2 else np.concatenate([seen, scores[:, None]], axis=-1)
    return "".join(
        [
            f"case {source} {features} {skeleton.n_joints} {indices.shape[1]}\n",
            _line("size", np.array(size)),
            _line("joints", indices),
            _line("shares", shares),
            _line("seen", incoming),
            _line("shown", shown),
            _line("rotation", camera.rotation),
            _line("position", camera.position_m),
            _line("pose", pose),
            _line("root", root),
            _line("placed", pose + root),
            _line("world", camera_to_world(pose + root, camera)),
            _line("world_root", camera_to_world(root, camera)),
        ]
    )


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def _line(name: str, values: np.ndarray) -> str:
    return f"{name} {' '.join(f'{value:.9g}' for value in np.ravel(values))}\n"


if __name__ == "__main__":
    GOLDEN.write_text(golden_text())
