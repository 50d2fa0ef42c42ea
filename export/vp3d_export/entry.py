"""Where vp3d-export begins: what it is asked for, and whether the libraries for that are there."""

from __future__ import annotations

import sys

NEEDED = ("torch", "onnx", "rich")


def main() -> int:
    """Exit code of an export, or 2 with one sentence without its libraries; of a bundle that is
    there already, only a model repository is written, which needs none of them."""
    if any(argument.split("=")[0] == "--bundle" for argument in sys.argv[1:]):
        from vp3d_export.triton.command import main as serve

        return serve()
    try:
        from vp3d_export.cli import main as export
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in NEEDED:
            raise
        print(
            f"vp3d-export: error: {error.name} is not installed; exporting needs the extra "
            'packages of pip install "vp3d-deploy[export]", running a bundle does not',
            file=sys.stderr,
        )
        return 2
    return export()
