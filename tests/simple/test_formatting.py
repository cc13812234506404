"""How values are spelled on pages, whichever their format."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.formatting import (
    core_metadata,
    counted,
    format_upload_time,
    one_line,
    provenance_base_url,
    provenance_url,
    quote_filename,
)
from twisted_index.simple.model import File, Sidecar

PAGE = "https://index.example/simple/demo/"


# -- File names in URLs


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_file_name_survives_the_way_through_a_link(filename: str) -> None:
    url = urljoin(PAGE, quote_filename(filename))

    assert url.startswith(PAGE)
    assert unquote(urlsplit(url).path.rpartition("/")[2]) == filename


@given(st.text())
def test_a_quoted_file_name_needs_no_escape_in_html_or_json(filename: str) -> None:
    quoted = quote_filename(filename)

    assert quoted.isascii()
    assert not set(quoted) & set("&<>\"'/:?#\\ +")


@pytest.mark.parametrize(
    ("filename", "quoted"),
    [
        ("demo-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0+loc.1.tar.gz", "demo-1.0%2Bloc.1.tar.gz"),
        ("demo-1!2.0.tar.gz", "demo-1%212.0.tar.gz"),
        ("javascript:x", "javascript%3Ax"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("..", "%2E."),
        ("é", "%C3%A9"),
    ],
)
def test_whatever_could_mean_something_else_in_a_url_is_escaped(filename: str, quoted: str) -> None:
    assert quote_filename(filename) == quoted


def test_a_file_name_that_is_no_unicode_is_quoted_without_an_error() -> None:
    assert quote_filename("demo-\udc80.zip") == "demo-%3F.zip"


# -- One line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("broken", "broken"),
        ("  broken\n", "broken"),
        ("one\r\ntwo\tthree", "one two three"),
        ("bell\x07 escape\x1b[31m", "bell escape[31m"),
        ("next\x85line\u2028separator", "next line separator"),
        ("\u202eturned", "turned"),
        ("naïve – 例", "naïve – 例"),
        ("\n", ""),
        ("", ""),
    ],
)
def test_a_reason_becomes_one_printable_line(text: str, line: str) -> None:
    assert one_line(text) == line


# -- Upload times


@pytest.mark.parametrize(
    ("moment", "spelled"),
    [
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05Z"),
        (datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2024-01-02T03:04:05.000678Z"),
        (datetime(999, 1, 2, tzinfo=UTC), "0999-01-02T00:00:00Z"),
        (datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2023-12-31T23:00:00Z"),
    ],
)
def test_an_upload_time_is_spelled_in_utc_with_a_z(moment: datetime, spelled: str) -> None:
    assert format_upload_time(moment) == spelled


# -- Core metadata


def test_the_digest_of_a_wheels_metadata_is_told() -> None:
    file = File(filename="demo-1.0-py3-none-any.whl", version="1.0", core_metadata={"sha256": "ab"})

    assert core_metadata(file) == "ab"


def test_metadata_of_unknown_digest_is_told_apart_from_none() -> None:
    file = File(filename="demo-1.0-py3-none-any.whl", version="1.0", core_metadata={"sha512": "ab"})

    assert core_metadata(file) == ""


def test_an_sdists_metadata_is_not_told() -> None:
    assert (
        core_metadata(File(filename="demo-1.0.tar.gz", version="1.0", core_metadata={"sha256": "ab"})) is None
    )


# -- Provenance


SIGNED = File(filename="demo-1.0+x.tar.gz", version="1.0+x", sidecars=frozenset({Sidecar.PROVENANCE}))


@pytest.mark.parametrize("public_url", ["https://index.example/pkg", "https://index.example/pkg/"])
def test_provenance_of_our_own_files_is_below_the_public_url(public_url: str) -> None:
    folder = provenance_base_url("demo", public_url)

    assert (
        provenance_url(SIGNED, folder)
        == "https://index.example/pkg/simple/demo/demo-1.0%2Bx.tar.gz.provenance"
    )


@pytest.mark.parametrize("public_url", [None, "http://index.example/", "//index.example/", ""])
def test_provenance_is_not_told_without_https(public_url: str | None) -> None:
    assert provenance_url(SIGNED, provenance_base_url("demo", public_url)) is None


def test_a_file_without_provenance_has_no_such_url() -> None:
    file = File(filename="demo-1.0.tar.gz", version="1.0")

    assert provenance_url(file, provenance_base_url("demo", "https://index.example/")) is None


@pytest.mark.parametrize(
    ("given_url", "told"),
    [("https://other.example/p", "https://other.example/p"), ("http://other.example/p", None), ("/p", None)],
)
def test_an_upstreams_provenance_url_is_passed_on_if_it_is_https(given_url: str, told: str | None) -> None:
    file = File(filename="demo-1.0.tar.gz", version="1.0", provenance_url=given_url)

    assert provenance_url(file, None) == told


def test_numbers_have_their_nouns() -> None:
    assert counted(1, "file") == "1 file"
    assert counted(2000, "file") == "2,000 files"
    assert counted(0, "entry", "entries") == "0 entries"
