"""What int8 costs in millimetres, network by network, and what each measure against it is worth.

    python -m vp3d_bench.int8_accuracy NAME=CHECKPOINT ... --data DIR [--max-frames N] [--out FILE]

Joints' distances from the same network in fp32 (mean, 95 % quantile, largest) and MPJPE against
ground truth, in mm, on test clips of DIR with both kinds of keypoints and on built-in motion. The
network is fitted to built-in motion, as vp3d-export does by itself, which is neither. Beside
fp16 and int8: int8 without each of its measures, int8 by plain rounding, and ONNX Runtime's own
static quantisation of the fp32 graph (min-max, per channel, 8 bits with a zero point).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_bench.machine import describe_machine
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.data import load_motion
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.base import Output
from vp3d_deploy.evaluation.clips import EvaluationSet, prepare_clip, share_frames
from vp3d_deploy.evaluation.predict import over_clip
from vp3d_deploy.metrics import MM_PER_M
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bias_correction import correct_last_bias
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.calibration import Calibration, built_in_calibration
from vp3d_export.checkpoint import load_checkpoint
from vp3d_export.evaluation import built_in_set
from vp3d_export.fold import FoldedWeights, fold_batch_norm
from vp3d_export.graphs.write import write_graphs
from vp3d_export.int8.quantise import PLAIN, Method, quantise

KEYPOINTS = ("gt", "cpn")
METHODS = {
    "int8": Method(),
    "int8 without equalising": replace(Method(), equalise=False),
    "int8 without feedback": replace(Method(), feedback=False),
    "int8 without bias correction": replace(Method(), correct_bias=False),
    "int8 by plain rounding": PLAIN,
}
ORT_STATIC = "onnxruntime quantize_static"
Form = Callable[[np.ndarray], Output]


@dataclass(frozen=True)
class Subject:
    spec: ModelSpec
    folded: FoldedWeights
    sets: list[EvaluationSet]
    calibration: Calibration


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT")
    parser.add_argument("--data", type=Path, required=True, help="motion with a test part")
    parser.add_argument("--max-frames", type=int, metavar="N", help="of each set (default: all)")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    networks = {}
    for given in options.checkpoints:
        name, _, path = given.partition("=")
        networks[name] = measure(name, Path(path), options.data, options.max_frames)
    limit = f" --max-frames {options.max_frames}" if options.max_frames else ""
    names = " ".join(f'"{name}=CHECKPOINT"' for name in networks)
    result = {
        "command": f"python -m vp3d_bench.int8_accuracy {names} --data {options.data.name}{limit}",
        "units": "mm; distances are those of joints from the same network in fp32",
        "machine": describe_machine(),
        "networks": networks,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def measure(name: str, path: Path, data: Path, max_frames: int | None) -> dict[str, Any]:
    """Every contender on every set, one network."""
    checkpoint = load_checkpoint(path)
    spec = checkpoint.pose.spec
    sets = list(_sets(spec, data, max_frames))
    folded = fold_batch_norm(spec, checkpoint.pose.tensors)
    subject = Subject(spec, folded, sets, built_in_calibration(spec, H36M_17, H36M_17))
    poses: dict[str, list[list[np.ndarray]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        for index, (title, sequence) in enumerate(contenders(subject, Path(directory))):
            print(f"{name}: {title} ({index + 1})", file=sys.stderr)
            poses[title] = [
                [over_clip(sequence, spec, clip.keypoints).pose for clip in motion.clips]
                for motion in sets
            ]
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "spec": spec.to_dict(),
        "receptive_field": spec.receptive_field,
        "fitted_to": subject.calibration.title,
        "sets": {
            motion.title: {
                "frames": motion.n_frames,
                **{title: _figures(motion, poses["fp32"][i], poses[title][i]) for title in poses},
            }
            for i, motion in enumerate(sets)
        },
    }


def contenders(subject: Subject, directory: Path) -> Iterator[tuple[str, Form]]:
    """Ways to compute the network, by name; each is good until the next is asked for."""
    spec, folded = subject.spec, subject.folded
    halves = correct_last_bias(spec, folded, subject.calibration.few, "fp16")
    yield from _run(spec, folded, "fp32", "fp32", directory)
    yield from _run(spec, halves, "fp16", "fp16", directory)
    for title, method in METHODS.items():
        made = quantise(spec, folded, subject.calibration.padded, method)
        yield from _run(spec, made, "int8", title, directory)
    yield ORT_STATIC, _static_sequence(directory / "fp32", subject.calibration.padded)


def _run(
    spec: ModelSpec, weights: FoldedWeights, precision: str, title: str, directory: Path
) -> Iterator[tuple[str, Form]]:
    place = directory / title
    place.mkdir()
    graphs = write_graphs(place, {"pose": spec}, {"pose": weights}, precision, ("sequence",), ())
    write_manifest(place, {"pose": spec}, H36M_17, H36M_17, 50.0, graphs, {})
    engine = open_engine(Bundle.open(place), precision=precision)
    try:
        yield title, engine.sequence
    finally:
        engine.close()


def _static_sequence(bundle: Path, clips: Sequence[np.ndarray]) -> Form:
    """The fp32 graph as ONNX Runtime quantises it when left to itself."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._clips = iter(clips)

        def get_next(self) -> dict[str, np.ndarray] | None:
            clip = next(self._clips, None)
            return None if clip is None else {"keypoints": clip[None]}

    made = bundle / "static.onnx"
    quantize_static(bundle / "sequence.fp32.onnx", made, Reader(), per_channel=True)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    return lambda keypoints: Output(session.run(["pose"], {"keypoints": keypoints})[0], None)


def _sets(spec: ModelSpec, data: Path, max_frames: int | None) -> Iterator[EvaluationSet]:
    for kind in KEYPOINTS:
        clips = share_frames(load_motion(data, kind, "test"), max_frames)
        prepared = [prepare_clip(clip, spec, H36M_17, H36M_17) for clip in clips]
        yield EvaluationSet(f"{data.name}, test, {kind} keypoints", prepared)
    yield built_in_set(spec, H36M_17, H36M_17)


def _figures(
    motion: EvaluationSet, exact: list[np.ndarray], found: list[np.ndarray]
) -> dict[str, float]:
    distance = MM_PER_M * np.linalg.norm(
        np.concatenate(found).astype(np.float64) - np.concatenate(exact), axis=-1
    )
    truth = np.concatenate([clip.pose_m for clip in motion.clips if clip.pose_m is not None])
    error = MM_PER_M * np.linalg.norm(np.concatenate(found).astype(np.float64) - truth, axis=-1)
    return {
        "mean_distance": round(float(distance.mean()), 4),
        "p95_distance": round(float(np.quantile(distance, 0.95)), 4),
        "max_distance": round(float(distance.max()), 3),
        "mpjpe": round(float(error.mean()), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
