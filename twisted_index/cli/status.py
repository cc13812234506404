"""`twisted-index status`: show or set the status of a project (PEP 792)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.cli._edit import IndexOptions, OfflineEdit, parse_project
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError, NotFound
from twisted_index.simple.model import ProjectStatus, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = "|".join(status.value for status in Status)


class StatusOptions(IndexOptions):
    """The options of `status`."""

    synopsis = f"Usage: twisted-index status [options] PROJECT [{_WORDS}]"
    longdesc = (
        "Without a status, shows the current one. An archived project accepts no uploads; a deprecated one is"
        " discouraged; a quarantined one offers no files at all."
    )
    optParameters = [["reason", None, "", "Reason; shown to users."]]  # noqa: RUF012


def run(arguments: Sequence[str]) -> int:
    """Show or set a status."""
    options = StatusOptions()
    words = parse_positionals(options, arguments, range(1, 3))
    if words is None:
        return 0
    project, change = parse_project(words[0]), OfflineEdit(options)
    if len(words) == 1:
        _show(change, project)
        return 0
    status = ProjectStatus(status=_status(words[1]), reason=" ".join(options["reason"].split()))
    change.make(lambda: change.editor.set_status(project, status, by=change.by))
    _show_one(project, status)
    return 0


def _status(word: str) -> Status:
    try:
        return Status(word.lower())
    except ValueError as error:
        raise ConfigurationError(f"{word!r} is not a status; write one of {_WORDS}.") from error


def _show(change: OfflineEdit, project: str) -> None:
    inventory = change.editor.inventory(project)
    if not inventory.exists:
        raise NotFound(f"There is no project {project} here.")
    _show_one(project, inventory.scan.status)


def _show_one(project: str, status: ProjectStatus) -> None:
    reason = f": {status.reason}" if status.reason else ""
    print(f"{project} is {status.status.value}{reason}")
