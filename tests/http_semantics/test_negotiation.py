"""Every client gets the format that it can read best, whatever it sends."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from twisted_index.http_semantics.negotiation import (
    CACHE_SIZE,
    DocumentFormat,
    Format,
    accepts_gzip,
    document_format,
    format_parameter,
    simple_format,
)

J = b"application/vnd.pypi.simple.v1+json"
H = b"application/vnd.pypi.simple.v1+html"
T = b"text/html"
LATEST_J = b"application/vnd.pypi.simple.latest+json"
LATEST_H = b"application/vnd.pypi.simple.latest+html"

PIP = J + b", " + H + b"; q=0.1, text/html; q=0.01"
UV = J + b", " + H + b";q=0.2, text/html;q=0.01"
POETRY = J + b", */*;q=0.1"
BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


# --- Pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [PIP, UV, POETRY, J])
def test_installers_that_know_json_get_it(accept: bytes) -> None:
    assert simple_format(accept) is Format.JSON


@pytest.mark.parametrize("accept", [None, b"", b"*/*", T, BROWSER, b"text/html, */*; q=0.01"])
def test_whoever_does_not_ask_for_json_gets_text_html(accept: bytes | None) -> None:
    """A publisher's check before uploading, curl, browsers and old pips scan for anchors."""
    assert simple_format(accept) is Format.HTML


@pytest.mark.parametrize("accept", [H, LATEST_H, H + b", text/html", H + b", */*", H + b";q=0.5"])
def test_html_under_its_own_type_is_sent_to_who_names_it(accept: bytes) -> None:
    assert simple_format(accept) is Format.HTML_V1


def test_the_latest_version_is_labelled_with_its_number() -> None:
    assert simple_format(LATEST_J) is Format.JSON
    assert Format.JSON.content_type == J


@pytest.mark.parametrize("accept", [J + b", " + H, H + b"," + J, b"text/html," + J, b"*/*, " + J])
def test_json_wins_over_all_that_weighs_the_same(accept: bytes) -> None:
    assert simple_format(accept) is Format.JSON


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (J + b";q=0.1, text/html;q=0.2", Format.HTML),
        (J + b";q=0.1, " + H + b";q=0.2", Format.HTML_V1),
        (J + b";q=0.2, " + LATEST_J + b";q=0.9, text/html;q=0.5", Format.JSON),
        (J + b";q=0.5, */*", Format.HTML),
        (b"*/*;q=0.5, " + J + b";q=0.6", Format.JSON),
        (b"application/*, text/html;q=0.5", Format.HTML_V1),
        (b"text/*, " + H + b";q=0.5", Format.HTML),
    ],
)
def test_otherwise_the_greatest_weight_decides(accept: bytes, expected: Format) -> None:
    assert simple_format(accept) is expected


def test_a_wildcard_for_one_main_type_is_never_answered_with_another() -> None:
    assert simple_format(b"application/*") is Format.HTML_V1


@pytest.mark.parametrize("accept", [J + b";q=0, text/html", J + b";q=0.000, */*", J + b";q=0"])
def test_what_is_ruled_out_is_not_sent(accept: bytes) -> None:
    assert simple_format(accept) is Format.HTML


def test_a_name_that_is_ruled_out_is_not_let_in_by_a_wildcard() -> None:
    assert simple_format(b"text/html;q=0, */*") is not Format.HTML


@pytest.mark.parametrize("accept", [b"image/png", b"application/json", b"text/plain", b"*/*;q=0"])
def test_who_wants_nothing_that_there_is_gets_text_html(accept: bytes) -> None:
    assert simple_format(accept) is Format.HTML


@pytest.mark.parametrize(
    "accept",
    [
        b";;;,q=",
        b",",
        b"/",
        b"*",
        b"\xff\x00",
        J + b";q=",
        J + b";q=high",
        J + b";q=2",
        J + b";q=-1",
        J + b";q=nan",
    ],
)
def test_garbage_gets_text_html(accept: bytes) -> None:
    assert simple_format(accept) is Format.HTML


def test_garbage_beside_a_good_element_does_no_harm() -> None:
    assert simple_format(b";;;,q=," + J + b",\xff;q=1") is Format.JSON


def test_a_variant_that_there_is_not_is_not_taken_for_json() -> None:
    assert simple_format(J + b";foo=bar") is Format.HTML


@pytest.mark.parametrize("accept", [J + b"; charset=UTF-8", J + b";", J + b" ; charset = utf-8 ; q=1"])
def test_a_parameter_that_changes_nothing_does_no_harm(accept: bytes) -> None:
    assert simple_format(accept) is Format.JSON


def test_what_follows_the_weight_is_an_extension_and_ignored() -> None:
    assert simple_format(J + b";q=0.9;level=1") is Format.JSON


def test_case_and_blanks_do_not_matter() -> None:
    accept = b" " + J.upper() + b" \t; Q = 0.9 ,\ttext/html ;q=0.1 "
    assert simple_format(accept) is Format.JSON


def test_commas_in_quoted_strings_do_not_part_elements() -> None:
    assert simple_format(b'text/plain;x="a, ' + J + b', b", text/html') is Format.HTML
    assert simple_format(b'text/plain;x="a, ' + J) is Format.HTML


def test_text_is_sent_with_its_charset_and_json_without() -> None:
    assert Format.HTML.content_type == b"text/html; charset=utf-8"
    assert Format.HTML_V1.content_type == H + b"; charset=utf-8"
    assert DocumentFormat.TEXT.content_type == b"text/plain; charset=utf-8"
    assert DocumentFormat.JSON.content_type == b"application/json"


@pytest.mark.parametrize(
    "piece", [b",", b";", b'"', b'\\"', b'"\\', b"a/b;q=0.1,", b"*/*,", b"q=", b" ", b";q=0." + b"1" * 99]
)
def test_a_huge_field_costs_time_in_proportion_only(piece: bytes) -> None:
    huge = piece * (100_000 // len(piece))
    start = time.process_time()
    simple_format(huge)
    accepts_gzip(huge)
    assert time.process_time() - start < 2


def test_a_long_field_is_understood_like_a_short_one() -> None:
    accept = b", ".join([b"image/x-%d" % number for number in range(100)]) + b", " + PIP
    assert len(accept) > CACHE_SIZE
    assert simple_format(accept) is Format.JSON


@given(
    st.one_of(st.binary(max_size=80), st.text(alphabet='*/;,q=01. "\\texhml', max_size=60).map(str.encode))
)
def test_no_field_at_all_raises(value: bytes) -> None:
    assert isinstance(simple_format(value), Format)
    assert isinstance(document_format(value), DocumentFormat)
    assert isinstance(accepts_gzip(value), bool)


RANGES = st.sampled_from([J, H, T, b"text/*", b"application/*", b"*/*", b"image/png", b"TEXT/HTML"])
QS = st.sampled_from([b"", b";q=0", b"; q=0.1", b";q=0.25", b";q=0.5", b";q=1", b";q=1.000"])
ACCEPTS = st.lists(
    st.tuples(RANGES, QS).map(b"".join),
    min_size=1,
    max_size=5,
    unique_by=lambda e: e.lower().partition(b";")[0],
)


@given(ACCEPTS.map(b", ".join))
def test_the_chosen_format_has_the_greatest_weight_as_werkzeug_sees_it(accept: bytes) -> None:
    oracle = parse_accept_header(accept.decode(), MIMEAccept)
    weights = {form: oracle.quality(form.value.decode()) for form in Format}
    chosen = simple_format(accept)
    if any(weights.values()):
        assert weights[chosen] == max(weights.values())
    else:
        assert chosen is Format.HTML


# --- The format parameter -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (J.decode(), Format.JSON),
        ("application/vnd.pypi.simple.v1 json", Format.JSON),
        (LATEST_J.decode(), Format.JSON),
        (H.decode().upper(), Format.HTML_V1),
        ("application/vnd.pypi.simple.latest html", Format.HTML_V1),
        ("text/html", Format.HTML),
        (" text/html ", Format.HTML),
    ],
)
def test_the_parameter_names_a_format_exactly(value: str, expected: Format) -> None:
    assert format_parameter(value) is expected


@pytest.mark.parametrize(
    "value", ["", "json", "*/*", "text/*", "text/html;q=0.5", "application/json", "t\u00ebxt/html", "\udcff"]
)
def test_any_other_parameter_names_none(value: str) -> None:
    assert format_parameter(value) is None


# --- Errors and pages for operators ---------------------------------------------------------------


@pytest.mark.parametrize(
    "accept",
    [
        PIP,
        UV,
        POETRY,
        LATEST_J,
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7",
        b"application/*",
        b"application/json, text/html",
    ],
)
def test_programs_that_prefer_json_get_errors_in_json(accept: bytes) -> None:
    assert document_format(accept) is DocumentFormat.JSON


@pytest.mark.parametrize(
    "accept", [BROWSER, T, H, b"text/html, application/json", b"text/html, text/plain", b"text/html, */*"]
)
def test_browsers_get_errors_in_html(accept: bytes) -> None:
    assert document_format(accept) is DocumentFormat.HTML


@pytest.mark.parametrize(
    "accept", [None, b"", b"*/*", b"text/*", b"text/plain", b"image/png", b";;;,q=", b"text/html;q=0.1, */*"]
)
def test_all_others_get_errors_in_plain_text(accept: bytes | None) -> None:
    assert document_format(accept) is DocumentFormat.TEXT


def test_plain_text_that_is_ruled_out_is_not_sent() -> None:
    assert document_format(b"text/plain;q=0, */*") is DocumentFormat.HTML


# --- Content coding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"gzip",
        b"gzip, deflate",
        b"gzip, deflate, br, zstd",
        b"br, GZIP;q=0.5",
        b"x-gzip",
        b"*",
        b"identity;q=0.5, *;q=0.6",
        b"gzip, identity",
        b"gzip;q=0.001",
        b"*;q=0, gzip",
    ],
)
def test_gzip_is_sent_to_who_wants_it(value: bytes) -> None:
    assert accepts_gzip(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"identity",
        b"br",
        b"gzip;q=0",
        b"gzip; q=0.0",
        b"*;q=0",
        b"gzip;q=0, *",
        b"gzip;q=0.5, identity",
        b"identity;q=1, *;q=0.5",
        b"gzipped",
        b"gzip;q=x",
    ],
)
def test_gzip_is_not_sent_to_who_does_not(value: bytes | None) -> None:
    assert not accepts_gzip(value)
