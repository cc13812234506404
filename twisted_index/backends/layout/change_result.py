"""ChangeResult: what a change of a project has done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_index.interfaces import AuditEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """
    The result of a change.

    Attributes:
        names: Names of the changed files.
        events: Events to append to the audit log.
    """

    names: tuple[str, ...]
    events: tuple[AuditEvent, ...]
