"""Warnings that a process gives once, however often what they are about comes up."""

from __future__ import annotations

import warnings

_WARNED: set[str] = set()


def warn_once(text: str) -> None:
    """Warn with a RuntimeWarning, unless the same sentence was said before."""
    if text not in _WARNED:
        _WARNED.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=4)
