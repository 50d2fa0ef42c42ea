"""vp3d-export --bundle BUNDLE --triton DIR: serve a bundle that is there; needs no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vp3d_deploy.bundle import Bundle
from vp3d_export.triton.options import TritonOptions, add_triton_options, triton_options
from vp3d_export.triton.repository import write_repository

EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one sentence."""
    parser = argparse.ArgumentParser(
        prog="vp3d-export",
        description="Write a model repository for Triton Inference Server from a bundle.",
        allow_abbrev=False,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="NAME.vp3d")
    add_triton_options(parser)
    given = parser.parse_args(arguments)
    options = triton_options(parser, given)
    if options is None:
        parser.error("--bundle is for --triton DIR, which says where the model repository is")
    try:
        serve(Bundle.open(given.bundle), options)
    except (ValueError, OSError) as error:
        print(f"vp3d-export: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def serve(bundle: Bundle, options: TritonOptions) -> None:
    """Write the repository and say what was written, on stderr: stdout may be a JSON result."""
    for model in write_repository(bundle, options.directory, options.serving, options.precision):
        print(f"wrote {model}", file=sys.stderr)
