"""`twisted-index draft`: prepare releases where only a secret URL leads, and publish them in one step."""

from __future__ import annotations

import shlex
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.access.token_terms import parse_expires
from twisted_index.backends.folder.blocking_store import BlockingStore, retry_while_locked
from twisted_index.backends.folder.drafts import DraftFolder
from twisted_index.backends.folder.promotion import Promotion
from twisted_index.backends.folder.promotion_plan import Examination, PromotionRequest
from twisted_index.cli._edit import IndexOptions
from twisted_index.cli._progress import number
from twisted_index.cli._promotions import ConsolePromotions
from twisted_index.cli._server_state import console_user, require_primary
from twisted_index.config.option_order import parse_positionals
from twisted_index.errors import ConfigurationError, PromotionRefused
from twisted_index.events.audit_log import AuditFile
from twisted_index.indexes.scope import draft_digest, new_draft_token
from twisted_index.interfaces import AuditAction, Draft
from twisted_index.simple.formatting import format_upload_time
from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.backends.layout.promotion_record import PromotionResult

_HELP = """\
Usage: twisted-index draft COMMAND [options]

A draft is an index that only its URL names: upload to it, install from it, and publish all of it at once.

Commands:
  create   Make a draft, and print its two URLs.
  list     List the drafts.
  publish  Publish all that is in a draft, in one step.
  cancel   Remove a draft with all that is in it.

Each has its own options: twisted-index draft COMMAND --help\
"""


class _Create(IndexOptions):
    """The options of `draft create`."""

    synopsis = "Usage: twisted-index draft create [options] NAME"
    longdesc = (
        "The URL is a secret: who has it can install what is in the draft. It is printed once. Uploads need"
        " the rights of a user besides."
    )
    optParameters = [  # noqa: RUF012
        ["expires", None, "7d", "When it ends: 7d, 2w, 2027-01-31, or a time."],
        ["url", None, None, "URL of the server, as in https://host/prefix. [default: its public-url]"],
    ]


class _Command(IndexOptions):
    """The options of the other commands."""

    def __init__(self, command: str, words: str) -> None:
        self.synopsis = f"Usage: twisted-index draft {command} [options] {words}".rstrip()
        IndexOptions.__init__(self)


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand of `draft`."""
    command, *rest = arguments or ["--help"]
    if command in ("--help", "-h", "help"):
        print(_HELP)
        return 0
    if command not in ("create", "list", "publish", "cancel"):
        raise ConfigurationError(f"draft {command}: use create, list, publish or cancel.")
    of_list = command == "list"
    options = _Create() if command == "create" else _Command(command, "" if of_list else "NAME")
    words = parse_positionals(options, rest, range(1) if of_list else range(1, 2), "draft: ")
    if words is None:
        return 0
    drafts = _Drafts(options)
    if not of_list:
        drafts.require_primary()
    match command:
        case "create":
            drafts.create(words[0], options["expires"], options["url"])
        case "list":
            drafts.list()
        case "publish":
            return drafts.publish(words[0])
        case _:
            drafts.cancel(words[0])
    return 0


class _Drafts:
    """
    The drafts of one index, from the console.

    Args:
        options: Parsed.
    """

    def __init__(self, options: IndexOptions) -> None:
        self._settings = options.settings()
        self._index = options.folders(self._settings)
        self._folder = DraftFolder(self._index.root)
        self._store = BlockingStore(self._index.roots, index=self._index.name)
        self._audit_file = AuditFile(self._settings.state)

    def require_primary(self) -> None:
        """Refuse a folder that follows another server's."""
        require_primary(self._settings, [self._index.root])

    def create(self, name: str, expires: str, url: str | None) -> None:
        """Make a draft, and print its URLs."""
        if not is_index_name(name):
            raise ConfigurationError(f"{name!r} is no name: use letters and digits, with -, . and _ inside.")
        try:
            end = parse_expires(expires, now=time.time())
        except ValueError as error:
            raise ConfigurationError(f"--expires: {error}.") from None
        if end is None:
            raise ConfigurationError("--expires: a draft has to end.")
        token = new_draft_token()
        draft = Draft(name=name, digest=draft_digest(token), by=console_user(), expires=end)
        retry_while_locked(self._folder.create, draft)
        self._audit_file.append(self._store.draft_event(AuditAction.DRAFT_CREATE, draft, by=draft.by))
        base = (url or self._settings.public_url or "URL").rstrip("/")
        prefix = f"/+{self._index.name}" if self._index.name else ""
        secret = f"{base}{prefix}/+draft/{token}"
        print(f"The draft {name} ends at {format_upload_time(end)}. Its URLs are shown only once:")
        print(f"  upload   {shlex.quote(f'{secret}/legacy/')}")
        print(f"  install  {shlex.quote(f'{secret}/simple/')}")

    def list(self) -> None:
        """Print the drafts."""
        for draft in self._folder.drafts():
            print(f"{draft.name}  until {format_upload_time(draft.expires)}  by {draft.by}")

    def cancel(self, name: str) -> None:
        """Remove a draft."""
        self._remove(self._folder.named(name), "cancelled")
        print(f"Cancelled the draft {name}.")

    def publish(self, name: str) -> int:
        """Publish a draft; 1 if something is in the way."""
        draft = self._folder.named(name)
        promotions = ConsolePromotions(self._settings.state)
        try:
            result = self._promote(draft, promotions)
        except PromotionRefused as error:
            for part in error.refusals:
                print(f"twisted-index: {part.name}: {part.reason}", file=sys.stderr)
            print("twisted-index: Nothing was published.", file=sys.stderr)
            return 1
        finally:
            promotions.close()
        for file in result.published:
            print(f"+ {file.name}")
        there = f"; {number(len(result.present), 'file')} with the same bytes there already"
        print(f"Published {number(len(result.published), 'file')}{there if result.present else ''}.")
        left = self._remove(
            draft, "published", taken=(*(file.name for file in result.published), *result.present)
        )
        if left:
            print(f"The draft {name} is kept, as it has {', '.join(left)} besides.")
        return 0

    def _promote(self, draft: Draft, promotions: ConsolePromotions) -> PromotionResult:
        record = self._folder.publication(draft)
        request = PromotionRequest(
            source=self._folder.folders(draft),
            target=self._index,
            releases=self._releases(draft) if record is None else record.releases,
            by=console_user() if record is None else record.by,
            # With its yanks: what was left behind would be gone with the draft.
            yanked=True,
            move=True,
        )
        promotion = Promotion(
            request,
            examination=Examination(request, facts_of=promotions.facts_of),
            record=record,
            min_free=self._settings.uploads.min_free,
        )
        return promotions.carry_out(promotion) if record is None else promotions.resume(promotion)

    def _releases(self, draft: Draft) -> tuple[str, ...]:
        store = BlockingStore((self._folder.path_of(draft.digest),))
        releases = {
            f"{project}=={entry.distribution.version}"
            for project in store.projects()
            for entry in store.inventory(project).scan.entries
        }
        if not releases:
            raise ConfigurationError(f"The draft {draft.name} is empty: upload to it first, or cancel it.")
        return tuple(sorted(releases))

    def _remove(self, draft: Draft, reason: str, *, taken: Sequence[str] | None = None) -> Sequence[str]:
        left = retry_while_locked(partial(self._folder.remove, draft, taken=taken))
        if not left:
            event = self._store.draft_event(AuditAction.DRAFT_REMOVE, draft, by=console_user(), reason=reason)
            self._audit_file.append(event)
        return left
