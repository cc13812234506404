"""
Promotions on their way into a bucket: what they have written down, and which names they hide. Blocking.

As in a folder, `.staged/ID.list` names the files that are not to be seen yet, and `.staged/ID/promotion.json`
says what is promoted. The list is written first and removed before the record: so a list alone has placed
nothing, both are placing, and a record alone is shown.

A bucket lists a project and the list by two requests. So each folder into which a promotion places files has
an object `PROJECT/.staged-ID` before they come: what lists it looks for the list then. If that is gone, the
files have all come meanwhile, and the project is listed once more. A list hides nothing but files of the
projects that have such an object: no promotion names a status or a claim, and who may write to one project
shall not hide what others have.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from twisted_index.backends.layout.entries import may_belong, without_suffix
from twisted_index.backends.layout.promotion_record import PromotionRecord
from twisted_index.backends.layout.tombstones import is_equivalent
from twisted_index.backends.object_store.bucket import ObjectChanged
from twisted_index.backends.object_store.project_listing import project_of_key
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Set

    from twisted_index.backends.object_store.bucket import Bucket
    from twisted_index.simple.names import Distribution

T = TypeVar("T")

_STAGED, _LIST, _MARKER = ".staged", ".list", ".staged-"
#: Bytes of a list or a record that are read: those of 100,000 files.
_MAX_BYTES = 64 << 20
#: Promotions whose lists are read for a listing; several at once are rare, and each is a request.
_MAX_PROMOTIONS = 100
#: Listings of a project while promotions come to their end.
_ATTEMPTS = 5


class UnreadableRecord(Unavailable):
    """What a promotion has written down is no record."""


def key_of_list(promotion: str) -> str:
    """Return the key of the list of a promotion."""
    return f"{_STAGED}/{promotion}{_LIST}"


def key_of_record(promotion: str) -> str:
    """Return the key of what a promotion has written down."""
    return f"{_STAGED}/{promotion}/promotion.json"


def key_of_marker(folder: str, promotion: str) -> str:
    """Return the key that says in a folder of a project that a promotion places files there."""
    return f"{folder}/{_MARKER}{promotion}"


def list_shown(
    bucket: Bucket, list_now: Callable[[], T], keys_of: Callable[[T], Iterable[str]]
) -> tuple[T, Mapping[str, frozenset[bytes]]]:
    """
    List objects, and say which names are not to be seen yet, by their projects.

    Args:
        bucket: Where they are.
        list_now: Lists them.
        keys_of: Returns the keys in such a listing.

    Raises:
        Unavailable: That is not known.
    """
    ended: set[str] = set()
    for _attempt in range(_ATTEMPTS):
        listing = list_now()
        marked = {one: projects for one, projects in marked_in(keys_of(listing)).items() if one not in ended}
        if len(marked) > _MAX_PROMOTIONS:
            raise Unavailable(
                f"There are objects {_MARKER}ID of {len(marked)} promotions. Delete those without a"
                f" {_STAGED}/ID{_LIST}."
            )
        lists = {one: read_list(bucket, one) for one in sorted(marked)}
        ended.update(one for one, names in lists.items() if names is None)
        if None not in lists.values():
            hidden: defaultdict[str, frozenset[bytes]] = defaultdict(frozenset)
            for one, names in lists.items():
                for project in marked[one]:
                    hidden[project] |= {name.encode() for name in names or () if _is_of(name, project)}
            return listing, hidden
    raise Unavailable("Releases are just being promoted. Retry in a moment.", retry_after=1)


def marked_in(keys: Iterable[str]) -> Mapping[str, Set[str]]:
    """Return the promotions that have markers among keys, each with the projects that have them."""
    marked: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys:
        _folder, slash, name = key.partition("/")
        if slash and name.startswith(_MARKER) and "/" not in name:
            project = project_of_key(key)
            if project is not None:
                marked[name.removeprefix(_MARKER)].add(project)
    return marked


def _is_of(name: str, project: str) -> bool:
    """Return whether a name is that of a file of a project, or of what lies beside one."""
    return may_belong(without_suffix(name), project)


def read_list(bucket: Bucket, promotion: str) -> frozenset[str] | None:
    """Return the names in the list of a promotion; None if it has none, or none any more."""
    content = _read(bucket, key_of_list(promotion))
    return (
        None if content is None else frozenset(filter(None, content.decode("utf-8", "replace").split("\n")))
    )


def read_record(bucket: Bucket, promotion: str) -> PromotionRecord | None:
    """
    Read what a promotion has written down; None if there is nothing.

    Raises:
        UnreadableRecord: It is none.
        Unavailable: It cannot be read.
    """
    content = _read(bucket, key_of_record(promotion))
    if content is None:
        return None
    try:
        record = PromotionRecord.from_bytes(content)
    except ValueError:
        record = None
    if record is None or record.id != promotion:
        raise UnreadableRecord(f"What the promotion {promotion} has written down cannot be read.")
    return record


def promotions_in(bucket: Bucket) -> tuple[str, ...]:
    """Return the promotions that are not finished, sorted."""
    level = bucket.list_level(_STAGED)
    names = (key.rpartition("/")[2] for key in level.objects)
    lists = {name.removesuffix(_LIST) for name in names if name.endswith(_LIST)}
    return tuple(sorted(lists | level.folders))


def naming(bucket: Bucket, promotions: Iterable[str], distribution: Distribution) -> str:
    """Return the promotion whose list has a name, in any spelling; empty if there is none."""
    for promotion in promotions:
        names = read_list(bucket, promotion) or ()
        if distribution.filename in names or any(is_equivalent(name, distribution) for name in names):
            return promotion
    return ""


def _read(bucket: Bucket, key: str) -> bytes | None:
    try:
        found = bucket.read(key, limit=_MAX_BYTES)
    except ObjectChanged:
        raise Unavailable(f"{key} is too large.") from None
    return None if found is None else found.content
