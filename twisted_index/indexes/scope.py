"""
Scopes: which index of the server, at which moment, or which draft a URL is about. Pure.

A segment that begins with `+` opens a scope: `/+NAME/` an index, `/+at/TIME/` a moment, `/+draft/TOKEN/` a
draft. Below it the whole tree of URLs is there again. Scopes compose in any order, each kind once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from twisted_index.simple.name_patterns import is_index_name

if TYPE_CHECKING:
    from collections.abc import Sequence

#: `/+draft/` and a token in a path, also with escapes.
_DRAFT = re.compile(
    "((?:/|%2[Ff])(?:[+]|%2[Bb])"
    + "".join(f"(?:{char}|%{ord(char):x})" for char in "draft")
    + "(?:/|%2[Ff]))"
    r"(?:(?!%2[Ff])[^/?#&\s\"'<>])+"
)
#: Characters of the longest moment and token.
_MAX_WORD = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What a URL is about.

    Attributes:
        index: The name of an index; empty for the one without a name.
        as_of: A date, a time or the name of a snapshot, as the URL has it; empty for now.
        draft: The digest by which a draft is kept (`draft_digest`), never its token; empty for none.
    """

    index: str = ""
    as_of: str = ""
    draft: str = ""

    @property
    def depth(self) -> int:
        """The number of segments that the scope takes in a URL."""
        return bool(self.index) + 2 * bool(self.as_of) + 2 * bool(self.draft)

    @property
    def path(self) -> str:
        """The segments as a relative URL, without those of a draft, whose token is not known here."""
        index = f"+{self.index}/" if self.index else ""
        return f"{index}+at/{quote(self.as_of, safe='')}/" if self.as_of else index

    @property
    def key(self) -> str:
        """A prefix for cache keys; empty for the plain index. Names of projects contain no `+` and no `/`."""
        parts = (self.index, self.as_of and f"at/{self.as_of}", self.draft and f"draft/{self.draft}")
        return "".join(f"+{part}/" for part in parts if part)


#: The index without a name, now.
PLAIN = Scope()


class ScopedPath(NamedTuple):
    """
    A path, split into its scope and the rest.

    Attributes:
        scope: What it is about.
        taken: The number of segments that name the scope.
        is_known: False if the segments look like a scope and can be none: then nothing is there.
    """

    scope: Scope
    taken: int
    is_known: bool = True


def split_scope(segments: Sequence[bytes]) -> ScopedPath:
    """
    Split a path below the mount point.

    Args:
        segments: Percent-decoded, so that `%2B` is the same as `+`.
    """
    scope, taken = PLAIN, 0
    while taken < len(segments) and segments[taken].startswith(b"+"):
        word = segments[taken][1:].decode("utf-8", "replace")
        argument = segments[taken + 1].decode("utf-8", "replace") if taken + 1 < len(segments) else ""
        if word == "simple":
            break
        if word == "at" and not scope.as_of and 0 < len(argument) <= _MAX_WORD:
            scope, taken = replace(scope, as_of=argument), taken + 2
        elif word == "draft" and not scope.draft and 0 < len(argument) <= _MAX_WORD:
            scope, taken = replace(scope, draft=draft_digest(argument)), taken + 2
        elif not scope.index and is_index_name(word):
            scope, taken = replace(scope, index=word), taken + 1
        else:
            return ScopedPath(scope, taken, is_known=False)
    return ScopedPath(scope, taken)


def draft_digest(token: str) -> str:
    """Return the name of the folder of a draft: nothing else of its token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def without_tokens(text: str) -> str:
    """Hide the tokens of drafts in the URLs of a text that others than the client may read."""
    return _DRAFT.sub(r"\1TOKEN", text)


def new_draft_token() -> str:
    """Return the token of a new draft: 256 random bits."""
    return secrets.token_urlsafe(32)
