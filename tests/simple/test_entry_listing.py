"""The listing by which a replica compares a project."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.entry_listing import (
    Entry,
    EntryListing,
    InvalidListing,
    format_batch,
    format_listing,
    parse_batch,
    parse_listing,
)

_NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name)
_PATHS = st.lists(_NAMES, min_size=1, max_size=2).map(lambda names: os.fsdecode(b"/".join(names)))
_ENTRIES = st.builds(
    Entry,
    _PATHS,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.integers(0, 10**12),
    st.integers(-(10**18), 10**19 - 1),
)


@given(st.lists(_ENTRIES, unique_by=lambda entry: entry.path), st.integers(0, 1 << 52))
def test_a_listing_is_read_as_it_was_written(entries, serial):
    entries = tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))
    listing = EntryListing(serial, "0" * 32, entries)
    assert parse_listing(format_listing(listing)) == listing


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1 " + b"0" * 32,
        b"1 " + b"0" * 31 + b"\n",
        b"1 " + b"0" * 32 + b"\nx 1 1 a\n",
        b"1 " + b"0" * 32 + b"\n" + 2 * (b"0" * 64 + b" 1 1 a\n"),
        b"1 " + b"0" * 32 + b"\n" + b"0" * 64 + b" 1 1 a",
    ],
)
def test_what_is_no_whole_listing_is_refused(text):
    with pytest.raises(InvalidListing):
        parse_listing(text)


_PROJECTS = st.from_regex("[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(st.dictionaries(_PROJECTS, st.binary(max_size=100)))
def test_a_batch_is_read_as_it_was_written(listings):
    assert parse_batch(format_batch(listings)) == listings


@pytest.mark.parametrize("text", [b"acme", b"acme 3\nab", b"acme 1\nab", b"../acme 1\na", b"acme -1\na"])
def test_what_is_no_whole_batch_is_refused(text):
    with pytest.raises(InvalidListing):
        parse_batch(text)
