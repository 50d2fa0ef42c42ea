"""vp3d-lift: a bundle and a file of 2D keypoints in, 3D poses and pictures out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.engines.tensorrt_api import TensorRTError
from vp3d_deploy.formats.read import read_tracks
from vp3d_deploy.formats.tracks import FormatError, Track
from vp3d_deploy.formats.write import check_output
from vp3d_deploy.lift_options import BUILTIN, build_parser
from vp3d_deploy.lift_tracks import keypoints_of, lift_live, lift_recorded
from vp3d_deploy.poses import Poses
from vp3d_deploy.progress import ProgressBar

if TYPE_CHECKING:
    from vp3d_deploy.lifter import Lifter
    from vp3d_deploy.skeleton import Skeleton


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 for what could not be done, 2 for usage."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.out and not args.render:
        parser.error("nothing to write; name a file with -o, or a picture with --render")
    if args.flip and (args.live or args.lag is not None):
        parser.error("--flip needs the whole clip and cannot be used with --live or --lag")
    try:
        summary = run(args)
    except OSError as error:
        known = error.filename is not None and error.strerror
        named = f"{error.filename}: {error.strerror}" if known else str(error)
        print(f"vp3d-lift: {named}", file=sys.stderr)
        return 1
    except (ValueError, ImportError, GpuError, TensorRTError) as error:
        print(f"vp3d-lift: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vp3d-lift: stopped", file=sys.stderr)
        return 130
    print(json.dumps(summary, indent=2) if args.json else _report(summary))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All of the command's work; returns what it did. Raises ValueError and OSError."""
    _check_outputs(args)
    from vp3d_deploy.lifter import Lifter

    with Lifter.open(args.bundle, engine=args.engine, precision=args.precision) as lifter:
        tracks = choose_people(load_tracks(args, lifter.skeleton), args)
        image_size = _size_of(tracks, args)
        fps = args.fps or tracks[0].fps
        began = time.perf_counter()
        poses = _lift(lifter, tracks, image_size, fps, args)
        seconds = time.perf_counter() - began
        model = {"engine": lifter.engine.name, "precision": lifter.engine.precision}
    written = [file for out in args.out for file in poses.save(out)]
    written += _render(poses, tracks, image_size, fps, model, args)
    n_frames = sum(track.n_frames for track in tracks)
    note = _outside_note(tracks, image_size)
    return {
        "bundle": str(args.bundle),
        **model,
        "input": args.input,
        "video": tracks[0].video,
        "people": len(tracks),
        "track_ids": [track.track_id for track in tracks],
        "frames": poses.n_frames,
        "image_size": list(image_size),
        "fps": poses.fps,
        "fps_given": fps is not None,
        "skeleton": tracks[0].skeleton.name,
        "skeleton_from": tracks[0].skeleton_from,
        "lag": _lag_of(args),
        "trajectory": poses.trajectory_m is not None,
        "seconds": round(seconds, 4),
        "frames_per_second": round(n_frames / max(seconds, 1e-9), 1),
        "note": note,
        "written": [str(path) for path in written],
    }


def load_tracks(args: argparse.Namespace, network: Skeleton | None = None) -> list[Track]:
    """The people of INPUT: a file's, or one of the procedural clips.

    network: the skeleton that the network reads, which a file may be in.
    """
    if not args.input.startswith(BUILTIN):
        return read_tracks(args.input, args.skeleton, network)
    from vp3d_deploy.data.procedural import make_clip

    action = args.input[len(BUILTIN) :]
    clip = make_clip(action, n_frames=args.frames, seed=args.seed)
    return [
        Track(
            track_id=0,
            frame_indices=np.arange(clip.n_frames, dtype=np.int64),
            keypoints_px=clip.keypoints_px,
            scores=clip.scores,
            skeleton=clip.keypoint_skeleton,
            image_size=clip.image_size,
            fps=clip.fps,
            video=args.input,
            skeleton_from="built in",
        )
    ]


def choose_people(tracks: list[Track], args: argparse.Namespace) -> list[Track]:
    """The tracks of one video, and no more of them than asked for, those seen longest first.

    Raises FormatError for a file of several videos if --clip names none of them.
    """
    videos = sorted({track.video for track in tracks})
    shown = ", ".join(videos[:8]) + (f" and {len(videos) - 8} more" if videos[8:] else "")
    if args.clip is not None:
        if args.clip not in videos:
            raise FormatError(f"{args.input}: no video {args.clip!r} in it; it holds {shown}")
        tracks = [track for track in tracks if track.video == args.clip]
    elif len(videos) > 1:
        raise FormatError(
            f"{args.input}: holds {len(videos)} videos: {shown}; choose one with --clip"
        )
    return tracks[: args.people]


def _size_of(tracks: list[Track], args: argparse.Namespace) -> tuple[int, int]:
    """(width, height) in pixels, from the user or the file."""
    size: tuple[int, int] | None = args.image_size or tracks[0].image_size
    if size is None:
        raise FormatError(
            f"{args.input}: the file does not say how large the video's image is; "
            "pass --image-size WIDTHxHEIGHT"
        )
    return size


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse now what could not be written after the work."""
    for path in args.out:
        check_output(path)
    if args.render:
        from vp3d_deploy.render.output import check_render

        for path in args.render:
            check_render(path)
    targets = [path.resolve() for path in (*args.out, *args.render)]
    for path in targets:
        if targets.count(path) > 1:
            raise FormatError(f"{path}: named twice as an output")
        if not args.input.startswith(BUILTIN) and path == Path(args.input).resolve():
            raise FormatError(f"{path}: is the input; the output would replace it")


def _lift(
    lifter: Lifter,
    tracks: list[Track],
    image_size: tuple[int, int],
    fps: float | None,
    args: argparse.Namespace,
) -> Poses:
    with ProgressBar("lifting") as progress:
        if (lag := _lag_of(args)) is not None:
            return lift_live(lifter, tracks, image_size, lag=lag, fps=fps, progress=progress)
        return lift_recorded(lifter, tracks, image_size, fps=fps, flip=args.flip, progress=progress)


def _render(
    poses: Poses,
    tracks: list[Track],
    image_size: tuple[int, int],
    fps: float | None,
    model: dict[str, str],
    args: argparse.Namespace,
) -> list[Path]:
    """Draw the pictures asked for; returns their paths."""
    if not args.render:
        return []
    from vp3d_deploy.render import make_scene, write_picture

    name = args.bundle.name.removesuffix(".vp3d")
    scene = make_scene(
        poses,
        keypoints_of(tracks, poses, fps),
        image_size,
        tracks[0].skeleton,
        source=tracks[0].video or Path(args.input).name,
        model=f"{name} · {model['engine']} {model['precision']}",
        lag=_lag_of(args),
    )
    written = []
    for path in args.render:
        with ProgressBar(f"drawing {path.name}") as progress:
            written.append(write_picture(scene, path, progress=progress))
    return written


def _outside_note(tracks: list[Track], image_size: tuple[int, int]) -> str | None:
    """A doubt about the image size, where most joints lie outside of it."""
    points = np.concatenate([track.keypoints_px.reshape(-1, 2) for track in tracks])
    points = points[np.isfinite(points).all(-1)]
    outside = ((points < 0) | (points > np.array(image_size))).any(-1)
    if not len(points) or outside.mean() < 0.5:
        return None
    width, height = image_size
    return (
        f"{outside.mean():.0%} of the joints lie outside an image of {width}x{height}; "
        "is --image-size right?"
    )


def _report(summary: dict[str, Any]) -> str:
    """The summary as a few lines for people."""
    count = summary["people"]
    people = "1 person" if count == 1 else f"{count} people"
    width, height = summary["image_size"]
    rate = f"{summary['fps']:g} frames/s" + ("" if summary["fps_given"] else " assumed")
    how = "" if summary["lag"] is None else f", live with lag {summary['lag']}"
    lines = [
        f"{summary['video'] or summary['input']}: {people}, {summary['frames']} frames at {rate}, "
        f"{width}x{height}, {summary['skeleton']} ({summary['skeleton_from']})",
        f"lifted with {summary['bundle']} ({summary['engine']} {summary['precision']}{how}) in "
        f"{summary['seconds']:.2f} s, {summary['frames_per_second']:,.0f} frames/s",
    ]
    if summary["note"]:
        lines.append(f"note: {summary['note']}")
    return "\n".join([*lines, *(f"wrote {path}" for path in summary["written"])])


def _lag_of(args: argparse.Namespace) -> int | None:
    """The lag of a live run; None for a recorded one."""
    if args.lag is not None:
        return int(args.lag)
    return 0 if args.live else None


if __name__ == "__main__":
    sys.exit(main())
