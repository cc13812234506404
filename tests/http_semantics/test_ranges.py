"""A part of a file is sent exactly as it is asked for, or the whole, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_content_range_header, parse_range_header

from twisted_index.http_semantics.ranges import UNSATISFIABLE, ByteRange, format_content_range, parse_range


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        (b"bytes=0-99", 0, 99),
        (b"bytes=5-5", 5, 5),
        (b"bytes=100-", 100, 999),
        (b"bytes=999-", 999, 999),
        (b"bytes=900-5000", 900, 999),
        (b"bytes=-1", 999, 999),
        (b"bytes=-300", 700, 999),
        (b"BYTES=0-0", 0, 0),
        (b" bytes=0-0\t", 0, 0),
        (b"bytes=" + b"0" * 5000 + b"7-" + b"9" * 5000, 7, 999),
    ],
)
def test_a_single_range_is_these_bytes(header: bytes, first: int, last: int) -> None:
    assert parse_range(header, 1000) == ByteRange(first, last)


@pytest.mark.parametrize("header", [b"bytes= 5-6", b"bytes=5-6 ", b"bytes= 5-6 ", b"bytes=\t5-6\t "])
def test_blanks_around_a_range_mean_nothing(header: bytes) -> None:
    """RFC 9110 section 5.6.1 allows them around each element of a list."""
    assert parse_range(header, 1000) == ByteRange(5, 6)


@pytest.mark.parametrize(
    "header", [b"bytes=5-6,", b"bytes=,5-6", b"bytes= , 5-6\t, ,", b"bytes=5-6" + b" ," * 9999]
)
def test_empty_elements_of_the_list_do_not_count(header: bytes) -> None:
    """RFC 9110 section 5.6.1.2 has a recipient ignore them."""
    assert parse_range(header, 1000) == ByteRange(5, 6)


@pytest.mark.parametrize("header", [b"bytes=-1000", b"bytes=-10000", b"bytes=-" + b"9" * 5000])
def test_the_end_of_a_file_that_is_shorter_is_all_of_it(header: bytes) -> None:
    assert parse_range(header, 1000) == ByteRange(0, 999)


@pytest.mark.parametrize(
    "header", [b"bytes=1000-", b"bytes=1000-2000", b"bytes=-0", b"bytes=-000", b"bytes=" + b"9" * 5000 + b"-"]
)
def test_a_range_without_any_byte_is_unsatisfiable(header: bytes) -> None:
    assert parse_range(header, 1000) is UNSATISFIABLE


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes=-",
        b"bytes=5-4",
        b"bytes=1000-999",
        b"bytes=a-b",
        b"bytes=0x0-9",
        b"bytes=+0-9",
        b"bytes=--5",
        b"bytes=0-9-",
        b"bytes = 0-9",
        b"bytes=0 - 9",
        b"bytes=0 -9",
        b"bytes=- 9",
        b"bytes=\n0-9",
        b"bytes=,",
        b"bytes= , ,\t",
        b"bytes,=0-9",
        b"bytes:0-9",
        b"items=0-9",
        b"bytes=0-9 x",
        "bytes=\u0660-\u0669".encode(),
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(header: bytes) -> None:
    assert parse_range(header, 1000) is None


@pytest.mark.parametrize(
    "header", [b"bytes=0-1,2-3", b"bytes=0-1, -5", b"bytes=" + b"0-0," * 9999, b"bytes=,0-1, ,2-3,"]
)
def test_several_ranges_are_answered_with_the_whole(header: bytes) -> None:
    assert parse_range(header, 1000) is None


def test_an_empty_file_has_no_ranges() -> None:
    assert parse_range(b"bytes=0-", 0) is UNSATISFIABLE
    assert parse_range(b"bytes=0-0", 0) is UNSATISFIABLE
    assert parse_range(b"bytes=-0", 0) is UNSATISFIABLE


def test_the_end_of_an_empty_file_is_sent_as_the_whole_which_is_nothing() -> None:
    """Content-Range cannot tell of a range without bytes."""
    assert parse_range(b"bytes=-10000", 0) is None


def test_the_content_range_tells_what_is_sent_of_how_much() -> None:
    assert format_content_range(ByteRange(0, 99), 1000) == b"bytes 0-99/1000"


def test_the_content_range_of_an_unsatisfiable_range_tells_the_size() -> None:
    assert format_content_range(UNSATISFIABLE, 1000) == b"bytes */1000"


def test_the_length_counts_both_ends() -> None:
    assert ByteRange(0, 99).length == 100


NUMBERS = st.integers(0, 60).map(str)
BLANKS = st.text(alphabet=" \t", max_size=2)
RANGES = st.one_of(
    st.builds("{}-{}".format, NUMBERS, NUMBERS),
    st.builds("{}-".format, NUMBERS),
    st.builds("-{}".format, NUMBERS),
)
HEADERS = st.one_of(
    st.builds("bytes={}{}{}".format, BLANKS, RANGES, BLANKS),
    st.builds("bytes={},{}".format, RANGES, RANGES),
    st.text(alphabet="bytes=-0129", max_size=14),
)


@given(HEADERS, st.integers(1, 50))
def test_a_range_is_what_werkzeug_makes_of_it(header: str, size: int) -> None:
    found = parse_range(header.encode(), size)
    parsed = parse_range_header(header)
    expected = parsed.range_for_length(size) if parsed else None
    if expected is not None:
        assert found == ByteRange(expected[0], expected[1] - 1)
    else:  # werkzeug refuses a suffix that is longer than the file
        assert found in (None, UNSATISFIABLE, ByteRange(0, size - 1))


@given(RANGES, st.text(alphabet=" \t,", max_size=5), st.text(alphabet=" \t,", max_size=5), st.integers(0, 50))
def test_an_empty_element_changes_nothing(range_: str, before: str, after: str, size: int) -> None:
    """Which is beyond werkzeug: it ignores such a field."""
    assert parse_range(f"bytes={before}{range_}{after}".encode(), size) == parse_range(
        f"bytes={range_}".encode(), size
    )


@given(HEADERS, st.integers(0, 50))
def test_what_is_sent_lies_in_the_file_and_is_told_truly(header: str, size: int) -> None:
    found = parse_range(header.encode(), size)
    if isinstance(found, ByteRange):
        assert 0 <= found.first <= found.last < size
        told = parse_content_range_header(format_content_range(found, size).decode())
        assert told is not None
        assert (told.start, told.stop, told.length) == (found.first, found.last + 1, size)


@given(st.binary(max_size=30), st.integers(0, 10))
def test_no_header_raises(header: bytes, size: int) -> None:
    parse_range(header, size)
    parse_range(b"bytes=" + header, size)
