"""
Lists of S3 (ListObjectsV2 in the API reference of Amazon S3), read here and not by the client library.

The library refuses a list as a whole for one key that no folder could have, takes a page of HTML for an
empty list, and a list that breaks off for one that ends: each could hide what is there. Blocking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

from twisted_index.backends.object_store.bucket import Listing, StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Ceph writes control characters of a token so, which XML forbids: 32 noncharacters stand for them here.
_FORBIDDEN, _PLACE = re.compile(rb"&#x([01][0-9A-Fa-f]);"), 0xFDD0
#: Keys of one list: those of a million projects, and some gigabytes of memory at most.
_MAX_KEYS = 1_000_000
#: What the library refuses in a key, and no folder has in a name.
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|(?:^|/)\.{0,2}(?:/|$)")


@dataclass(slots=True)
class _Found:
    """What the pages so far have; names are without the bucket's own prefix, which is `cut`."""

    cut: str
    objects: dict[str, StoredObject] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    markers: set[str] = field(default_factory=set)
    unusable: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        return sum(map(len, (self.objects, self.folders, self.markers, self.unusable)))


def list_objects(
    get: Callable[[Mapping[str, str]], bytes],
    base: str,
    prefix: str,
    *,
    level: bool,
    limit: int | None,
    after: str | None = None,
) -> Listing:
    """
    List what lies below a prefix, and apart from it the keys that cannot be used.

    Args:
        get: Requests the bucket with these fields as the query.
        base: The bucket's own prefix; empty, or with a slash at its end.
        prefix: Below that; as `Bucket.list_all` has it.
        level: Whether only one level is listed.
        limit: As `Bucket.list_all` has it.
        after: Only keys after this one, and at least one that can be used, as `Bucket.list_after` has it.

    Raises:
        OSError, ValueError: A page did not come, or is none; what came before is no list.
    """
    inside = f"{base}{prefix}/" if prefix else base
    fields = {"list-type": "2", "encoding-type": "url", "prefix": inside}
    if level:
        fields["delimiter"] = "/"
    if after:
        fields["start-after"] = base + after
    found, requests, token = _Found(base), 0, ""
    while True:
        page = _parse(get({**fields, "continuation-token": token} if token else fields))
        requests += 1
        _collect(page, inside, found)
        token = _next_token(page, found)
        is_complete = not token
        is_enough = limit is not None and found.count > limit and (after is None or found.objects)
        if is_complete or is_enough:
            break
        if found.count > _MAX_KEYS:
            raise ValueError("The list of objects does not end.")
    if after and min(found.objects, default=after) < after:
        raise ValueError("The list does not begin where it was to.")
    return Listing(
        objects=found.objects,
        folders=frozenset(folder[len(inside) - len(base) :] for folder in found.folders),
        is_complete=is_complete,
        requests=requests,
        unusable=tuple(sorted(found.unusable)),
    )


def _parse(body: bytes) -> ElementTree.Element:
    # A list declares no entities, in UTF-16 neither.
    if b"<!" in body or b"\0" in body:
        raise ValueError("The answer is no list of objects.")
    body = _FORBIDDEN.sub(lambda found: chr(_PLACE + int(found[1], 16)).encode(), body)
    try:
        page = ElementTree.fromstring(body)  # noqa: S314 - without a document type
    except ElementTree.ParseError:
        raise ValueError("The list of objects broke off, or is none.") from None
    if _name(page) != "ListBucketResult":
        raise ValueError("The answer is no list of objects.")
    return page


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _collect(page: ElementTree.Element, inside: str, found: _Found) -> None:
    """Take the keys of a page, all of which begin with `inside`."""
    # A store that does not know that encoding does not say so.
    is_encoded = page.findtext("{*}EncodingType") == "url"
    before, entries = found.count, 0
    for each in page:
        kind = _name(each)
        if kind not in ("Contents", "CommonPrefixes"):
            continue
        entries += 1
        values = {_name(child): child.text or "" for child in each}
        key = _key(values.get("Key" if kind == "Contents" else "Prefix", ""), is_encoded)
        if not key.startswith(inside):
            raise ValueError("The list has objects that were not listed.")
        if kind == "CommonPrefixes":
            _take_folder(key[len(found.cut) :], found)
        else:
            _take_object(key[len(found.cut) :], values, found)
    if entries and found.count == before:
        raise ValueError("The list of objects does not go on.")


def _take_folder(name: str, found: _Found) -> None:
    if not _ODD.search(name[:-1]):
        found.folders.add(name[:-1])
    else:
        found.unusable.add(_escaped(name))


def _take_object(name: str, values: Mapping[str, str], found: _Found) -> None:
    if not _ODD.search(name):
        found.objects[name] = _object(name, values)
    elif _is_marker(name, values.get("Size")):
        found.markers.add(name)
    else:
        found.unusable.add(_escaped(name))


def _is_marker(name: str, size: str | None) -> bool:
    """Return whether it says only that there is a folder, as consoles write that down."""
    return not name or (name.endswith("/") and size == "0" and not _ODD.search(name[:-1]))


def _next_token(page: ElementTree.Element, found: _Found) -> str:
    """Return how the list goes on; empty at its end."""
    if page.findtext("{*}IsTruncated") == "false":
        return ""
    token = page.findtext("{*}NextContinuationToken")
    if not token or token in found.tokens:
        raise ValueError("The list of objects says neither that it ends nor how it goes on.")
    found.tokens.add(token)
    return token.translate({_PLACE + code: code for code in range(32)})


def _key(text: str, is_encoded: bool) -> str:
    """Decode a key; Amazon writes a space as a plus."""
    if not is_encoded or ("%" not in text and "+" not in text):
        return text
    return unquote_to_bytes(text.replace("+", " ")).decode(errors="surrogateescape")


def _escaped(key: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in key)


def _object(key: str, values: Mapping[str, str]) -> StoredObject:
    modified = datetime.fromisoformat(values.get("LastModified", ""))
    return StoredObject(
        key=key,
        size=int(values.get("Size", "")),
        etag=values.get("ETag", "").strip('"'),
        modified_ns=int(modified.timestamp()) * 10**9 + modified.microsecond * 1000,
    )
