"""Keep what training runs found: one JSON and one picture each, and a table of all.

    python -m vp3d_bench.training_results [RUN ...] --out bench/results/training

Each RUN is a folder that vp3d-train finished; it is kept under its own name. README.md in the
output folder is written anew from all that is kept there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

INTRODUCTION = """\
# Training results

Written by `python -m vp3d_bench.training_results` from the results of `vp3d-train` beside it: one
JSON (settings, errors, curve, command) and one picture per run. `videopose3d` in the commands is
CMU motion capture (mocap.cs.cmu.edu) in the layout of Human3.6M, 50 frames/s, seen by the four
Human3.6M cameras: {about}.
**None of these figures is a Human3.6M result.** Errors in mm on its test
subjects, S9 and S11; "actions" averages over frames of each action and then over actions, "frames"
over all frames; no flips at test time unless a column says so. Runs that began before an option
existed have it in their JSON and command as the program then behaved (`--foreign-joints`).
`demo_27f_before.json` is of the checkpoint that `demo_27f` began from, by an earlier program.
"""
COLUMNS = (
    "run", "preset", "channels", "epochs", "MPJPE frames", "actions", "actions, flips", "P-MPJPE",
    "N-MPJPE", "MPJVE", "lag 0, frames", "minutes",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for run in options.runs:
        keep(run, options.out)
    text = table(options.out)
    (options.out / "README.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def keep(run: Path, out: Path) -> None:
    """Copy a finished run's results under its name."""
    name = run.resolve().name
    for kept, suffix in (("results.json", ".json"), ("curves.png", ".png")):
        source = run / kept
        if not source.is_file():
            raise SystemExit(f"{source} is not there; has vp3d-train finished in {run}?")
        shutil.copyfile(source, out / f"{name}{suffix}")


def table(folder: Path) -> str:
    """Markdown: introduction, a row per run, and the commands."""
    runs = {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))
    }
    runs = {name: run for name, run in runs.items() if "epochs" in run}
    frames = sorted({run["errors"]["frames"] for run in runs.values()})
    about = f"84,252 training frames, {' or '.join(f'{n:,}' for n in frames)} test frames"
    lines = [INTRODUCTION.format(about=about), _row(COLUMNS), _row(["---"] * len(COLUMNS))]
    lines += [_row(_cells(name, run)) for name, run in runs.items()]
    lines += ["", "P-MPJPE, N-MPJPE and MPJVE are averaged over actions, without flips.", ""]
    for name, run in runs.items():
        lines += [f"`{name}` ([JSON]({name}.json), [curve]({name}.png)):", ""]
        lines += [f"    {run['command']}", ""]
    return "\n".join(lines)


def _cells(name: str, run: dict[str, Any]) -> list[str]:
    errors, settings = run["errors"], run["settings"]
    recorded, flipped = errors["recorded"], errors["recorded, flip"]
    actions = recorded["actions"]
    live = errors.get("lag 0")
    return [
        name,
        run["preset"] + (", causal" if settings["causal"] else ""),
        str(settings["channels"]),
        str(settings["epochs"]),
        *(
            f"{value:.2f}"
            for value in (
                recorded["frames"]["mpjpe_mm"],
                actions["mpjpe_mm"],
                flipped["actions"]["mpjpe_mm"],
                actions["p_mpjpe_mm"],
                actions["n_mpjpe_mm"],
                actions["mpjve_mm"],
            )
        ),
        "–" if live is None else f"{live['frames']['mpjpe_mm']:.2f}",
        f"{run['training_seconds'] / 60:.0f}",
    ]


def _row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
