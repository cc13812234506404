"""
The `.staged` folder of a root: which files lie in their places and are not to be seen yet. Blocking.

A list `.staged/ID.list` hides the files that it names, one name a line, wherever in its root they lie, with
the documents and the yank beside them. A promotion names its files in a list, puts them into their places and
removes the list, so that one step shows them all. A list that was made by hand counts too.
"""

from __future__ import annotations

import errno
import os
import stat as stat_module
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.backends.layout.entries import BESIDE, may_belong, without_suffix
from twisted_index.files.safe_open import open_regular_file
from twisted_index.simple.names import DistributionType, InvalidFilename, normalize, parse_filename

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Set

    from twisted_index.files.stamps import StampedStat, StatValidator

STAGED = b".staged"
#: The suffix of a list.
LIST = b".list"
#: Bytes of a list that are read: about 800,000 names. A part of a longer one would show what it hides, so its
#: root is unavailable, as if the list were unreadable.
MAX_STAGED_LIST = 64 << 20
_NOTHING: Mapping[str, frozenset[bytes]] = {}


class StagedList(NamedTuple):
    """
    A list.

    Attributes:
        key: Its inode, size and times before it was read.
        settled: Whether a later change is sure to give another key.
        hidden: What it hides of each project: names of files.
        unknown: How many lines name no file that a project could have.
        first: The number of the first of them, from 1; 0 without one.
    """

    key: tuple[int, ...]
    settled: bool
    hidden: Mapping[str, frozenset[bytes]]
    unknown: int = 0
    first: int = 0


@dataclass(frozen=True, slots=True)
class Staged:
    """
    The `.staged` folder of a root.

    Attributes:
        path: The folder.
        stamp: Its stamp from before it was read.
        lists: By name.
        hidden: What all lists hide of each project; the same object while that is the same.
        folders: Names of the folders in it, where files wait before they are put into their places.
        ignored: Names of lists that hide nothing, as they are links or no regular files.
    """

    path: bytes
    stamp: StampedStat
    lists: Mapping[bytes, StagedList] = field(default_factory=dict)
    hidden: Mapping[str, frozenset[bytes]] = field(default_factory=lambda: _NOTHING)
    folders: tuple[bytes, ...] = ()
    ignored: tuple[bytes, ...] = ()

    def is_current(self, validator: StatValidator) -> bool:
        """Return whether nothing has changed: a `stat`, and one for each list."""
        return validator.is_current(self.path, self.stamp) and self.lists_are_current()

    def lists_are_current(self) -> bool:
        """Return whether no list was rewritten in place, which does not touch their folder."""
        return all(
            one.settled and _key_of(os.path.join(self.path, name)) == one.key
            for name, one in self.lists.items()
        )

    def hides(self, project: str) -> frozenset[bytes]:
        """Return the names that are hidden of a project."""
        return self.hidden.get(project, frozenset())


def read_staged(root: bytes, validator: StatValidator, before: Staged | None) -> Staged | None:
    """
    Read the `.staged` folder of a root.

    Args:
        root: The root.
        validator: Takes the stamp.
        before: The last reading, of which the lists that did not change are kept.

    Returns:
        None if there is no such folder; a link to one is none.

    Raises:
        OSError: It or a list cannot be read, so that it is not known what is hidden.
    """
    path = os.path.join(root, STAGED)
    try:
        if not stat_module.S_ISDIR(os.lstat(path).st_mode):
            return None
        stamp = validator.stamp(path, None if before is None else before.stamp)
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        return None
    known = {} if before is None else before.lists
    lists: dict[bytes, StagedList] = {}
    folders, ignored = [], []
    for name in names:
        kind = _kind_of(os.path.join(path, name))
        if kind == stat_module.S_IFDIR and not _is_list(name):
            folders.append(name)
        elif not _is_list(name) or kind is None:
            continue
        elif kind != stat_module.S_IFREG:
            ignored.append(name)
        elif (found := _read_list(os.path.join(path, name), validator, known.get(name))) is not None:
            lists[name] = found
    same = before is not None and _are_same(before.lists, lists)
    hidden = before.hidden if same and before is not None else _join(lists.values())
    return Staged(path, stamp, lists, hidden, tuple(folders), tuple(ignored))


def _is_list(name: bytes) -> bool:
    return name.endswith(LIST) and not name.startswith(b".")


def _kind_of(path: bytes) -> int | None:
    """Return the kind of an entry, not following links; None if it has just gone."""
    try:
        return stat_module.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None


def _key_of(path: bytes) -> tuple[int, ...] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read_list(path: bytes, validator: StatValidator, known: StagedList | None) -> StagedList | None:
    """Read a list, unless it is known and has not changed; None if it has just gone."""
    key = _key_of(path)
    if key is None:
        return None
    if known is not None and known.settled and known.key == key:
        return known
    try:
        file = open_regular_file(path, follow_links=False)
    except FileNotFoundError:
        return None
    if file is None:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with file:
        content = file.read(MAX_STAGED_LIST + 1)
    if len(content) > MAX_STAGED_LIST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return _parse(content, key, settled=validator.is_settled(key[-1]))


def _parse(content: bytes, key: tuple[int, ...], *, settled: bool) -> StagedList:
    hidden: dict[str, set[bytes]] = {}
    unknown = []
    # An editor may have put a byte order mark before the first name.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        name = os.fsdecode(line.strip())
        projects = projects_of(name)
        for project in projects:
            hidden.setdefault(project, set()).update(_with_documents(name))
        if name and not projects:
            unknown.append(number)
    return StagedList(
        key,
        settled,
        {project: frozenset(names) for project, names in hidden.items()},
        len(unknown),
        next(iter(unknown), 0),
    )


def _with_documents(name: str) -> Iterable[bytes]:
    yield os.fsencode(name)
    if not name.endswith(BESIDE):
        yield from (os.fsencode(name + suffix) for suffix in BESIDE)


def projects_of(name: str) -> Set[str]:
    """
    Return the projects that a distribution file of a name, or what lies beside one, may belong to.

    The name of an sdist does not show where its project ends, see `parse_filename`.

    Returns:
        Normalized names; none if no project could have such a file.
    """
    base = without_suffix(name)
    try:
        distribution = parse_filename(base)
    except InvalidFilename:
        return frozenset()
    projects = {distribution.project}
    if distribution.kind is not DistributionType.WHEEL:
        parts = base.split("-")
        likely = {normalize("-".join(parts[:length])) for length in range(1, len(parts))}
        projects |= {project for project in likely if may_belong(base, project)}
    return projects


def _are_same(before: Mapping[bytes, StagedList], lists: Mapping[bytes, StagedList]) -> bool:
    hidden = [[one.hidden for one in each.values()] for each in (before, lists)]
    return hidden[0] == hidden[1]


def _join(lists: Iterable[StagedList]) -> Mapping[str, frozenset[bytes]]:
    joined: dict[str, frozenset[bytes]] = {}
    for one in lists:
        for project, names in one.hidden.items():
            joined[project] = joined.get(project, frozenset()) | names
    return joined or _NOTHING
