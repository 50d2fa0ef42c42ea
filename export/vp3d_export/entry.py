"""Where vp3d-export begins: what it is asked for, and whether the libraries for that are there."""

from __future__ import annotations

import sys

NEEDED = ("torch", "onnx", "rich")


def main() -> int:
    """Exit code of an export, or 2 with one sentence without its libraries; for a bundle that is
    there already, a model repository is written or engines are built, which needs none of them."""
    asked = {argument.split("=")[0] for argument in sys.argv[1:]}
    if "--bundle" in asked:
        from vp3d_export.triton.command import main as serve

        return serve()
    if "--resume-engines" in asked:
        from vp3d_export.tensorrt.resume import main as resume

        return resume()
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
