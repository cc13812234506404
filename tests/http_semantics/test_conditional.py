"""A client that has what it would get is told so, and never when it has something else."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import http_date, is_resource_modified, parse_date, parse_etags

from twisted_index.http_semantics.conditional import (
    Precondition,
    evaluate,
    format_http_date,
    if_range_matches,
    parse_http_date,
    weak_match,
)

ETAG = b'"abc"'
MODIFIED = 784111777.75  # the RFC's own example, and a part of a second
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = b"Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = b"Sun, 06 Nov 1994 08:49:38 GMT"

PROCEED, NOT_MODIFIED, FAILED = Precondition.PROCEED, Precondition.NOT_MODIFIED, Precondition.FAILED


def ask(
    method: bytes = b"GET", etag: bytes | None = ETAG, modified: float | None = MODIFIED, **fields: Any
) -> Precondition:
    """Evaluate a request that has only these fields."""
    names = ("if_match", "if_none_match", "if_modified_since", "if_unmodified_since")
    return evaluate(method=method, etag=etag, modified=modified, **{name: fields.get(name) for name in names})


# --- If-None-Match --------------------------------------------------------------------------------


def test_without_conditions_the_request_proceeds() -> None:
    assert ask() is PROCEED


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize(
    "header",
    [
        ETAG,
        b'W/"abc"',
        b'"x", "abc"',
        b'"x","abc","y"',
        b'"x" ,\tW/"abc"',
        b'  "abc" ',
        b"*",
        b" * ",
        b', "abc",',
    ],
)
def test_a_tag_that_the_client_has_is_not_sent_again(method: bytes, header: bytes) -> None:
    assert ask(method, if_none_match=header) is NOT_MODIFIED


@pytest.mark.parametrize(
    "header", [b'"abcd"', b"abc", b"", b'"x", "y"', b'"ABC"', b'"abc', b'"a,bc"', b'"*"', b'"x", *']
)
def test_a_client_with_another_tag_gets_the_new_representation(header: bytes) -> None:
    assert ask(if_none_match=header) is PROCEED


def test_a_weak_tag_of_ours_matches_in_either_form() -> None:
    assert weak_match(b'"abc"', b'W/"abc"')
    assert weak_match(b'W/"abc"', b'W/"abc"')


def test_a_comma_in_a_tag_does_not_part_it() -> None:
    assert weak_match(b'"x", "a,b"', b'"a,b"')
    assert not weak_match(b'"a,b"', b'"a"')


def test_a_request_that_would_change_something_fails_if_it_is_there() -> None:
    assert ask(b"PUT", if_none_match=b"*") is FAILED
    assert ask(b"POST", if_none_match=ETAG) is FAILED


def test_what_has_no_tag_matches_only_the_star() -> None:
    assert ask(etag=None, if_none_match=ETAG) is PROCEED
    assert ask(etag=None, if_none_match=b"*") is NOT_MODIFIED


# --- If-Modified-Since ----------------------------------------------------------------------------


@pytest.mark.parametrize("date", [DATE, AFTER])
def test_what_was_not_modified_since_is_not_sent_again(date: bytes) -> None:
    assert ask(if_modified_since=date) is NOT_MODIFIED


def test_what_was_modified_since_is_sent() -> None:
    assert ask(if_modified_since=BEFORE) is PROCEED


def test_a_tag_makes_the_date_meaningless() -> None:
    assert ask(if_none_match=b'"other"', if_modified_since=AFTER) is PROCEED
    assert ask(if_none_match=ETAG, if_modified_since=BEFORE) is NOT_MODIFIED


@pytest.mark.parametrize("date", [b"", b";", b"0", b"yesterday", b"Sun, 06 Nov 1994 08:49:37", b"\xff" * 40])
def test_a_malformed_date_is_ignored(date: bytes) -> None:
    assert ask(if_modified_since=date) is PROCEED
    assert ask(if_unmodified_since=date) is PROCEED


def test_only_reading_depends_on_that_date() -> None:
    assert ask(b"POST", if_modified_since=AFTER) is PROCEED


def test_what_has_no_date_is_sent() -> None:
    assert ask(modified=None, if_modified_since=AFTER) is PROCEED


# --- If-Match and If-Unmodified-Since -------------------------------------------------------------


@pytest.mark.parametrize("header", [ETAG, b'"x", "abc"', b"*"])
def test_a_request_for_the_tag_that_there_is_proceeds(header: bytes) -> None:
    assert ask(if_match=header) is PROCEED


@pytest.mark.parametrize("header", [b'"x"', b'W/"abc"', b"", b"abc"])
def test_a_request_for_another_tag_fails(header: bytes) -> None:
    assert ask(if_match=header) is FAILED


def test_weak_tags_never_match_strongly() -> None:
    assert ask(etag=b'W/"abc"', if_match=b'W/"abc"') is FAILED
    assert ask(etag=None, if_match=ETAG) is FAILED


def test_what_was_modified_since_the_client_saw_it_fails() -> None:
    assert ask(if_unmodified_since=BEFORE) is FAILED
    assert ask(if_unmodified_since=DATE) is PROCEED
    assert ask(modified=None, if_unmodified_since=BEFORE) is PROCEED


def test_the_conditions_come_in_their_order() -> None:
    assert ask(if_match=ETAG, if_unmodified_since=BEFORE, if_none_match=ETAG) is NOT_MODIFIED
    assert ask(if_match=b'"x"', if_none_match=ETAG) is FAILED
    assert ask(if_unmodified_since=BEFORE, if_none_match=ETAG) is FAILED


# --- If-Range -------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [ETAG, b' "abc" ', DATE, b"Sunday, 06-Nov-94 08:49:37 GMT"])
def test_a_range_of_the_same_file_may_be_sent(header: bytes) -> None:
    assert if_range_matches(header, ETAG, MODIFIED)


@pytest.mark.parametrize("header", [b'"x"', b'W/"abc"', b"abc", b"", b"*", BEFORE, AFTER, b'"x", "abc"'])
def test_a_range_of_another_file_is_never_sent(header: bytes) -> None:
    assert not if_range_matches(header, ETAG, MODIFIED)


def test_a_range_of_a_file_without_validators_is_never_sent() -> None:
    assert not if_range_matches(ETAG, None, None)
    assert not if_range_matches(DATE, None, None)
    assert not if_range_matches(b'W/"abc"', b'W/"abc"', None)


# --- Dates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [DATE, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b" " + DATE + b" "]
)
def test_all_three_forms_of_a_date_are_read(value: bytes) -> None:
    assert parse_http_date(value) == 784111777


def test_two_digits_of_a_year_mean_one_since_the_epoch() -> None:
    assert parse_http_date(b"Thursday, 01-Jan-70 00:00:00 GMT") == 0
    assert parse_http_date(b"Friday, 01-Jan-27 00:00:00 GMT") == datetime(2027, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "value",
    [
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT".encode(),
    ],
)
def test_any_other_date_is_none(value: bytes) -> None:
    assert parse_http_date(value) is None


def test_a_date_is_written_in_the_form_of_today_and_rounded_down() -> None:
    assert format_http_date(MODIFIED) == DATE
    assert format_http_date(784111777.9999999) == DATE


@pytest.mark.parametrize("seconds", [-1e18, -62135596801, 253402300800, 1e18])
def test_a_time_that_no_date_can_tell_is_written_as_the_nearest(seconds: float) -> None:
    assert parse_http_date(format_http_date(seconds)) is not None


def test_a_time_before_the_epoch_is_written() -> None:
    assert format_http_date(-1) == b"Wed, 31 Dec 1969 23:59:59 GMT"


SECONDS = st.integers(-62135596800, 253402300799)


@given(SECONDS)
def test_dates_survive_writing_and_reading(seconds: int) -> None:
    assert parse_http_date(format_http_date(seconds)) == seconds


@given(st.integers(0, 4102444799))
def test_dates_are_written_and_read_as_werkzeug_does(seconds: int) -> None:
    written = format_http_date(seconds)
    assert written.decode() == http_date(seconds)
    assert parse_date(written.decode()) == datetime.fromtimestamp(seconds, UTC)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_date_or_none(value: bytes) -> None:
    parse_http_date(value)
    if_range_matches(value, ETAG, MODIFIED)


# --- The oracle -----------------------------------------------------------------------------------

OPAQUE = st.text(alphabet="abc,-* ", min_size=1, max_size=3)  # werkzeug cannot read the empty tag
TAGS = st.builds(lambda weak, opaque: f'{weak}"{opaque}"', st.sampled_from(["", "W/"]), OPAQUE)
LISTS = st.lists(TAGS, min_size=1, max_size=4).map(", ".join)


@given(LISTS, OPAQUE)
def test_lists_of_tags_are_read_as_werkzeug_reads_them(header: str, opaque: str) -> None:
    etag = f'"{opaque}"'.encode()
    oracle = parse_etags(header)
    assert weak_match(header.encode(), etag) == oracle.contains_weak(opaque)
    assert (ask(etag=etag, if_match=header.encode()) is PROCEED) == oracle.is_strong(opaque)


@given(st.none() | LISTS, st.none() | st.integers(-2, 2), OPAQUE)
def test_a_get_is_not_modified_when_werkzeug_says_so(
    header: str | None, seconds: int | None, opaque: str
) -> None:
    since = None if seconds is None else email.utils.formatdate(int(MODIFIED) + seconds, usegmt=True)
    fields = {"HTTP_IF_NONE_MATCH": header, "HTTP_IF_MODIFIED_SINCE": since}
    environ = {"REQUEST_METHOD": "GET"} | {name: value for name, value in fields.items() if value is not None}
    modified = is_resource_modified(
        environ, etag=f'"{opaque}"', last_modified=datetime.fromtimestamp(MODIFIED, UTC)
    )
    answer = ask(
        etag=f'"{opaque}"'.encode(),
        if_none_match=header and header.encode(),
        if_modified_since=since and since.encode(),
    )
    assert answer is (PROCEED if modified else NOT_MODIFIED)
