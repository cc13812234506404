"""
What was learned of objects, and the format in which it is kept: JSON lines. Pure.

It is a hint that anything may delete: a line that is damaged, or of other bytes, is nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.specifiers import SpecifierSet

from twisted_index.backends.layout.facts import FileFacts, Rejection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted_index.backends.layout.facts import InspectionResult
    from twisted_index.backends.object_store.bucket import StoredObject

#: The first line. Another one means that files were judged by other rules.
_HEADER = b'{"learned": 1}\n'
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Bytes of a small object that are kept; larger ones are read again.
_MAX_TEXT = 4096


class ObjectId(NamedTuple):
    """
    One state of an object: other bytes have another one.

    Attributes:
        key: Relative to the prefix.
        etag: Its ETag; where the store tells none, its time after an `@`.
        size: In bytes.
    """

    key: str
    etag: str
    size: int


def object_id(stored: StoredObject) -> ObjectId:
    """Return the state in which an object was listed."""
    return ObjectId(stored.key, stored.etag or f"@{stored.modified_ns}", stored.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedObject:
    """
    What was learned of an object.

    Attributes:
        result: The facts of a distribution file, or why it is not listed.
        uploaded_ns: When it was written first, as its metadata says, in nanoseconds since the epoch.
        text: The bytes of a sidecar or mark, as far as they have a meaning.
    """

    result: InspectionResult | None = None
    uploaded_ns: int | None = None
    text: bytes | None = None


def format_learned(known: Mapping[ObjectId, LearnedObject]) -> bytes:
    """Format what is known of a project's objects, without what may be other at the next look."""
    lines = [_HEADER]
    for stored, learned in sorted(known.items()):
        fields = _fields_of(learned)
        if fields is not None:
            fields = {"key": stored.key, "etag": stored.etag, "size": stored.size, **fields}
            line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            lines.append(line.encode("utf-8", "backslashreplace") + b"\n")
    return b"".join(lines)


def _fields_of(learned: LearnedObject) -> dict[str, Any] | None:
    """Return the fields of a line beside those of its object."""
    match learned.result:
        case FileFacts() as facts:
            fields = {
                "sha256": facts.sha256,
                "metadata": facts.metadata_sha256,
                "requires-python": facts.requires_python,
                "verified": facts.verified or None,
                "uploaded": learned.uploaded_ns,
            }
            return {name: value for name, value in fields.items() if value is not None}
        case Rejection():
            # Each server sees for itself, so that a store that was wrong once hides no file for ever.
            return None
    if learned.text is None or len(learned.text) > _MAX_TEXT:
        return None
    try:
        return {"text": learned.text.decode()}
    except UnicodeDecodeError:
        return None


def parse_learned(content: bytes) -> dict[ObjectId, LearnedObject]:
    """Parse what was kept, and pass over what cannot be."""
    known: dict[ObjectId, LearnedObject] = {}
    if not content.startswith(_HEADER):
        return known
    for line in content[len(_HEADER) :].split(b"\n"):
        try:
            fields = json.loads(line)
            stored = ObjectId(_text(fields["key"]), _text(fields["etag"]), _number(fields["size"]))
            known[stored] = _learned_of(fields)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return known


def _learned_of(fields: Mapping[str, Any]) -> LearnedObject:
    if "sha256" in fields:
        metadata, requires, uploaded = map(fields.get, ("metadata", "requires-python", "uploaded"))
        if requires is not None:
            SpecifierSet(_text(requires))
        facts = FileFacts(
            sha256=_digest(fields["sha256"]),
            metadata_sha256=None if metadata is None else _digest(metadata),
            requires_python=requires,
            verified=fields.get("verified") is True,
        )
        return LearnedObject(result=facts, uploaded_ns=None if uploaded is None else _number(uploaded))
    return LearnedObject(text=_text(fields["text"]).encode())


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(value)
    return value


def _digest(value: object) -> str:
    if _DIGEST.fullmatch(_text(value)) is None:
        raise ValueError(value)
    return _text(value)
