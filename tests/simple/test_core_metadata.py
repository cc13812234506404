"""The few headers that an index needs are read as pip reads them, and agree with the file name."""

from __future__ import annotations

import email

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twisted_index.simple.core_metadata import (
    MAX_HEADERS,
    BadArchive,
    CoreMetadata,
    check_identity,
    parse_headers,
)


def headers(name: str | None = None, version: str | None = None, requires: str | None = None) -> CoreMetadata:
    return CoreMetadata(name=name, version=version, requires_python=requires)


def test_the_three_fields_are_taken_out_of_the_header() -> None:
    document = b"Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\nRequires-Python: >=3.8,<4\n\nText\n"
    assert parse_headers(document) == headers("Demo", "1.0", ">=3.8,<4")


def test_a_document_without_them_has_none_of_them() -> None:
    assert parse_headers(b"") == headers()


@pytest.mark.parametrize("document", [b"\nName: demo\n", b"\r\nName: demo\n", b"Summary: x\n\nName: demo\n"])
def test_what_stands_in_the_body_is_no_field(document: bytes) -> None:
    assert parse_headers(document) == headers()


def test_a_line_that_is_no_field_ends_the_header() -> None:
    """As it does for pip, whose parser takes all that follows for the description."""
    assert parse_headers(b"Name: demo\nA stray line\nVersion: 1.0\n") == headers("demo")


def test_field_names_have_no_case_and_lines_may_end_as_on_windows() -> None:
    assert parse_headers(b"NAME: demo\r\nversion:1.0\r\n\r\nx") == headers("demo", "1.0")


def test_the_first_of_several_fields_counts() -> None:
    assert parse_headers(b"Name: a\nName: b\n") == headers("a")


def test_a_field_that_is_the_end_of_another_is_not_taken_for_it() -> None:
    assert parse_headers(b"Metadata-Version: 2.1\nOther-Name: x\nVersion: 1.0\n") == headers(None, "1.0")


def test_folded_lines_are_joined() -> None:
    document = b"Name: demo\nRequires-Python: >=3.8,\n  !=3.9.0\n\t,<4\nVersion:\n 1.0\n"
    assert parse_headers(document) == headers("demo", "1.0", ">=3.8, !=3.9.0 ,<4")


def test_a_field_inside_a_folded_description_is_no_field() -> None:
    assert parse_headers(b"Description: x\n Name: a\nName: demo\n") == headers("demo")


def test_bytes_that_are_not_utf_8_do_no_harm() -> None:
    assert parse_headers(b"Author: \xff\xfe\nName: d\xe9mo\n").name == "d\udce9mo"


@pytest.mark.parametrize("value", [b"", b">3.x", b"3.8", b">=3.8;<4", b"\xff", b">=3." + b"1" * 2000, b"~=3"])
def test_a_requires_python_that_is_not_valid_is_left_out(value: bytes) -> None:
    """uv drops a file whose requires-python it cannot read."""
    assert parse_headers(b"Requires-Python: " + value + b"\n").requires_python is None


@pytest.mark.parametrize("value", [b"===\xff", "===\u00e9".encode(), b"===1\0", b"===\x1b[31m"])
def test_a_requires_python_that_no_page_could_carry_is_left_out(value: bytes) -> None:
    """PEP 440's `===` takes any text, and what is no UTF-8 could not even be remembered."""
    assert parse_headers(b"Requires-Python: " + value + b"\n").requires_python is None


def test_only_so_much_of_a_document_is_searched() -> None:
    document = b"Name: demo\n" + b"Classifier: x\n" * (MAX_HEADERS // 14) + b"Version: 1.0\n"
    assert parse_headers(document) == headers("demo")


LINES = st.sampled_from(
    [
        b"Name: demo",
        b"name:x",
        b"VERSION : 1",
        b"Version: 1",
        b" folded",
        b"\tfolded",
        b"",
        b" ",
        b"Text",
        b":",
        b"A:",
    ]
)


ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@example(lines=[(b"Name: demo", b"\r\n"), (b" ", b"\r\n"), (b"Version: 1", b"")])
@given(lines=st.lists(st.tuples(LINES, ENDS), max_size=8))
def test_headers_are_what_the_email_parser_sees(lines: list[tuple[bytes, bytes]]) -> None:
    document = b"".join(line + end for line, end in lines)
    message = email.message_from_bytes(document)
    expected = [
        " ".join(message[field].split()) or None if field in message else None
        for field in ("name", "version")
    ]
    seen = parse_headers(document)
    assert [seen.name, seen.version] == expected


@given(st.binary(max_size=300))
def test_any_bytes_have_headers(document: bytes) -> None:
    parse_headers(b"Name: x\n" + document)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("Foo.Bar", "1.0"),
        ("foo_bar", "1.0.0"),
        ("foo--bar", "v1"),
        ("foo-bar", " 1.0 "),
        ("FOO-BAR", "1"),
    ],
)
def test_spellings_of_one_name_and_version_agree(name: str, version: str) -> None:
    check_identity(headers(name, version), project="foo-bar", version="1.0")


@pytest.mark.parametrize("version", ["1.1", "1.0.post1", "1.0+local", "1!1.0", "1.0rc1", "not a version"])
def test_another_version_is_a_contradiction(version: str) -> None:
    with pytest.raises(BadArchive, match="metadata has Version"):
        check_identity(headers("demo", version), project="demo", version="1.0")


@pytest.mark.parametrize("version", ["1." + "0" * 5000, "1" * 5000, "1" + ".0" * 5000])
def test_a_version_of_thousands_of_characters_is_a_contradiction(version: str) -> None:
    with pytest.raises(BadArchive, match="metadata has Version"):
        check_identity(headers("demo", version), project="demo", version="1.0")


def test_another_name_is_a_contradiction() -> None:
    with pytest.raises(BadArchive, match="metadata has Name 'other', but its file name says 'demo'"):
        check_identity(headers("other", "1.0"), project="demo", version="1.0")


def test_versions_that_pep_440_does_not_know_are_compared_as_they_are() -> None:
    check_identity(headers("demo", "2004d-final"), project="demo", version="2004d-final")


@pytest.mark.parametrize("found", [headers(None, "1.0"), headers("demo", None), headers()])
def test_metadata_without_name_or_version_is_refused(found: CoreMetadata) -> None:
    with pytest.raises(BadArchive, match="lacks its Name or its Version"):
        check_identity(found, project="demo", version="1.0")


def test_a_hostile_name_is_shown_short_and_printable() -> None:
    with pytest.raises(BadArchive) as caught:
        check_identity(headers("\udcff\x1b[31m" * 1000, "1.0"), project="demo", version="1.0")
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) < 1000
