"""kernels/tests/stream_plans.txt, which the C++ plan is held to, says what the Python plan says.

python tests/kernels/test_stream_plans.py     writes the file anew
"""

from __future__ import annotations

from pathlib import Path

from vp3d_deploy.plan import StreamPlan, stream_plan
from vp3d_deploy.spec import ModelSpec

GOLDEN = Path(__file__).parents[2] / "kernels" / "tests" / "stream_plans.txt"
WIDTHS = [(3,), (1, 1, 1), (3, 3, 3), (5, 3), (3, 1, 5), (7, 3, 3), (3, 3, 3, 3, 3)]


def test_golden_plans_are_those_of_the_python_planner() -> None:
    assert GOLDEN.read_text() == golden_text()


def golden_text() -> str:
    parts = ["# Written by tests/kernels/test_stream_plans.py from vp3d_deploy/plan.py.\n"]
    for widths in WIDTHS:
        for causal in (False, True):
            spec = ModelSpec(widths, 1, causal=causal)
            full = spec.lookahead
            for lag in sorted({0, min(1, full), full // 3, full // 2, max(full - 1, 0), full}):
                names = ",".join(map(str, widths))
                parts.append(f"plan causal={int(causal)} lag={lag} widths={names}\n")
                parts.append(plan_text(stream_plan(spec, lag)))
    return "".join(parts)


def plan_text(plan: StreamPlan) -> str:
    lines = [f"rings {' '.join(map(str, plan.ring_lengths))}", f"answer {plan.answer.value}"]
    for level, work in enumerate(plan.levels):
        for column, taps in work.columns.items():
            reads = [f"ring-{t.age}" if t.column is None else t.column.value for t in taps]
            lines.append(f"level {level} {column.value}: {' '.join(reads)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(golden_text())
