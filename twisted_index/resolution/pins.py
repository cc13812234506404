"""Versions of projects that have been chosen, however that was done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """
    One version of a project.

    Attributes:
        project: Normalized (PEP 503).
        version: As a page or a lock file spells it.
        hashes: Lower-case `ALGORITHM:HEX` of the only files that may be taken; empty for all of the version.
    """

    project: str
    version: str
    hashes: frozenset[str] = frozenset()
