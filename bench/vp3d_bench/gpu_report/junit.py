"""pytest's JUnit XML: what became of each test."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome
from vp3d_bench.gpu_report.shell import Ended

_NO_TESTS = 5
# A module that skips itself: "('tests/gpu/test_x.py', 20, 'Skipped: needs a GPU')".
_MODULE_SKIPPED = re.compile(r"""Skipped: (.*)['"]\)$""")


def results_of_tests(path: Path) -> list[dict[str, Any]]:
    """name, outcome ("passed", "failed", "skipped"), seconds and, of the others, the reason.

    Raises ValueError for a file that is not there or not whole.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(f"{path.name}: pytest left no whole report ({error})") from None
    return [_result(case) for case in root.iter("testcase")]


def outcome_of_tests(ended: Ended, path: Path) -> Outcome:
    """FAILED if a test failed, if pytest did not come to its end, or if it found none to run;
    SKIPPED if all were."""
    try:
        tests = results_of_tests(path)
    except ValueError as error:
        return Outcome(FAILED, f"{error}; {ended.reason()}")
    counts = Counter(test["outcome"] for test in tests)
    skipped = [
        {"name": test["name"], "reason": test["reason"]}
        for test in tests
        if test["outcome"] == SKIPPED
    ]
    found = {**{status: counts[status] for status in (PASSED, FAILED, SKIPPED)},
             "skipped_tests": skipped, "tests": tests}  # fmt: skip
    if counts[FAILED]:
        first = next(test for test in tests if test["outcome"] == FAILED)
        return Outcome(FAILED, f"{counts[FAILED]} failed, the first {first['name']}: "
                       f"{first['reason']:.300}", found)  # fmt: skip
    if not ended.ok and not (ended.code == _NO_TESTS and not counts[PASSED]):
        return Outcome(FAILED, ended.reason(), found)
    if not counts[PASSED]:
        reasons = "; ".join(dict.fromkeys(test["reason"] for test in skipped)) or "there are none"
        return Outcome(SKIPPED, f"no test ran: {reasons:.600}", found)
    return Outcome(PASSED, f"{counts[PASSED]} passed, {counts[SKIPPED]} skipped", found)


def _result(case: ElementTree.Element) -> dict[str, Any]:
    module = case.get("classname", "").removeprefix("tests.")
    result: dict[str, Any] = {
        "name": f"{module}::{case.get('name')}" if module else str(case.get("name")),
        "outcome": PASSED,
        "seconds": float(case.get("time", 0)),
    }
    for tag, outcome in (("skipped", SKIPPED), ("failure", FAILED), ("error", FAILED)):
        element = case.find(tag)
        if element is not None:
            result["outcome"] = outcome
            result["reason"] = _reason(element)
    return result


def _reason(element: ElementTree.Element) -> str:
    """Of a module that could not be collected, the message says no more than that."""
    message, text = element.get("message", "").strip(), (element.text or "").strip()
    if message and not message.startswith("collection "):
        return message
    skipped = _MODULE_SKIPPED.search(text)
    if skipped:
        return skipped[1]
    errors = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return (errors or text.splitlines() or [message])[-1]
