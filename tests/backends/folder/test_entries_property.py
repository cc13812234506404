"""A listing with its bytes is all that it takes to have an equal folder, whatever lies in the first one."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_source import AtOnce
from tests.kit.properties import examples
from twisted_index.backends.folder.inspection_cache import InspectionCache
from twisted_index.backends.folder.source import FolderSource
from twisted_index.interfaces import StreamingContent
from twisted_index.simple.entry_listing import EntryListing, parse_listing
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import make_sdist, make_wheel

WHEELS = {made.filename: made.content for made in (make_wheel("demo", "1.0"), make_wheel("demo", "2.0"))}
SDISTS = {made.filename: made.content for made in (make_sdist("demo", "1.0"), make_sdist("Demo", "3.0"))}
DISTRIBUTIONS = {**WHEELS, **SDISTS}
NAMES = st.sampled_from([os.fsencode(name) for name in DISTRIBUTIONS])
MARKS = st.sampled_from([b".archived", b".quarantined", b".claimed", b".copies", b".deleted"])
ODD = st.binary(min_size=1, max_size=12).filter(lambda name: name not in (b".", b"..") and b"/" not in name)
SUFFIXES = st.sampled_from([b".yanked", b".asc", b".provenance", b".deleted", b".part", b".tmp"])
BESIDE = st.builds(bytes.__add__, NAMES, SUFFIXES)
ENTRIES = NAMES | MARKS | BESIDE | ODD.filter(lambda name: b"\0" not in name)
#: A folder of the project, or the root itself.
PLACES = st.sampled_from([b"demo", b"Demo", b"DEMO", b""])
CONTENTS = st.binary(max_size=40) | st.just(None)
LARGE = hashlib.sha256(b"large").digest() * 3000
FILES = st.dictionaries(
    st.tuples(PLACES, ENTRIES),
    st.tuples(CONTENTS | st.just(LARGE), st.integers(1, 4_000_000_000_000_000_000)),
    max_size=8,
)


def fill(root: Path, files: dict[tuple[bytes, bytes], tuple[bytes | None, int]]) -> None:
    """Write files: where nothing is said, what their names promise."""
    for (place, name), (content, time) in files.items():
        if not place and name.startswith(b"."):
            # Folders of the server.
            continue
        path = os.path.join(os.fsencode(root), place, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(DISTRIBUTIONS.get(os.fsdecode(name), b"") if content is None else content)
        os.utime(path, ns=(time, time))


@contextmanager
def served(root: Path) -> Iterator[FolderSource]:
    source = FolderSource(
        root, reactor=Clock(), reader=AtOnce(), cache_thread=AtOnce(), cache=InspectionCache()
    )
    yield source
    answer(source.stop)


def listed(source: FolderSource, inline: int = 0) -> tuple[EntryListing | None, bytes]:
    text = answer(source.entries, "demo", inline)
    if text is None:
        return None, b""
    head, _empty_line, contents = text.partition(b"\n\n") if inline else (text[:-1], b"", b"")
    return parse_listing(head + b"\n"), contents


def copy(source: FolderSource, root: Path, inline: int) -> None:
    """Make an equal folder, as a replica does."""
    listing, contents = listed(source, inline)
    for entry in () if listing is None else listing.entries:
        if entry.size <= inline:
            content, contents = contents[: entry.size], contents[entry.size :]
        else:
            body = answer(source.open_entry, "demo", os.fsencode(entry.path))
            assert body is not None
            assert not isinstance(body.content, (bytes, StreamingContent))
            with body.content as file:
                content = file.read()
        assert hashlib.sha256(content).hexdigest() == entry.sha256
        path = root / entry.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(entry.time, entry.time))
    assert contents == b""


@examples(150)
@given(files=FILES, inline=st.sampled_from([0, 1, 20, 65536]))
def test_the_copy_of_a_folder_has_its_entries_and_its_page(
    files: dict[tuple[bytes, bytes], tuple[bytes | None, int]], inline: int
):
    top = Path(tempfile.mkdtemp())
    try:
        one, other = top / "one", top / "other"
        one.mkdir()
        other.mkdir()
        fill(one, files)
        with served(one) as first, served(other) as second:
            copy(first, other, inline)
            here, there = listed(first)[0], listed(second)[0]
            assert (here.entries if here else ()) == (there.entries if there else ())
            page, same = (answer(each.project_page, "demo").value for each in (first, second))
            # A file that is being written claims the name here alone: there, the primary is asked for it.
            nothing = ProjectPage(name="demo", files=(), versions=())
            page, same = page or nothing, same or nothing
            assert (page.files, page.status) == (same.files, same.status)
    finally:
        shutil.rmtree(top)
