"""Lines of a project's manifest."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.properties import examples
from twisted_index.simple.manifest import InvalidLine, ManifestLine, find_names, format_line, parse_line

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
SHA256 = "0123456789abcdef" * 4

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,60}", fullmatch=True)
lines = st.builds(
    ManifestLine,
    name=names,
    sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    size=st.none() | st.integers(0, 10**15),
    time=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(
        lambda time: time.replace(microsecond=0)
    ),
    note=st.text(max_size=80).map(lambda text: " ".join(text.split())),
)


def test_a_line_has_five_fields_with_two_blanks_between_them():
    line = ManifestLine(name="demo-1.0.tar.gz", sha256=SHA256, size=12, time=NOW, note="by alice: too old")
    assert format_line(line).decode() == (
        f"{SHA256}  12  2026-11-29T12:30:00Z  demo-1.0.tar.gz  by alice: too old\n"
    )


def test_what_is_not_known_is_a_hyphen_and_the_time_is_in_utc():
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    line = ManifestLine(name="demo-1.0.tar.gz", time=east)
    assert format_line(line) == b"-  -  2026-11-29T12:30:00Z  demo-1.0.tar.gz\n"
    assert parse_line(format_line(line)) == line


@examples(200)
@given(lines)
def test_what_is_written_is_read_as_it_was(line: ManifestLine):
    written = format_line(line)
    assert written.count(b"\n") == 1
    assert parse_line(written) == line
    assert find_names(written * 2) == [line.name.encode()] * 2


@examples(100)
@given(lines, st.text(max_size=9000))
def test_a_note_is_one_line_of_bounded_length(line: ManifestLine, note: str):
    written = format_line(ManifestLine(name=line.name, time=line.time, note=note))
    assert written.count(b"\n") == 1
    assert len(written) < 4400
    assert parse_line(written).name == line.name


@pytest.mark.parametrize("name", [".archived", ".deprecated", ".quarantined"])
def test_statuses_are_recorded_but_are_no_names_of_deleted_files(name: str):
    line = ManifestLine(name=name, sha256=SHA256, size=0, time=NOW)
    assert parse_line(format_line(line)) == line
    assert find_names(format_line(line)) == []


@pytest.mark.parametrize(
    "name", ["", ".hidden", ".claimed", ".archived.yanked", "-rf", "a/b", "a b", "a\nb", "ä.whl", "x" * 256]
)
def test_no_other_names_are_written(name: str):
    with pytest.raises(InvalidLine):
        format_line(ManifestLine(name=name, time=NOW))


@pytest.mark.parametrize(
    "text",
    [
        b"-  -  2026-11-29T12:30:00Z  demo-1.0.tar.gz\r\n",
        b"-  -  2026-11-29T12:30:00Z  demo-1.0.tar.gz",
        b"- - 2026-11-29T12:30:00Z demo-1.0.tar.gz by an editor",
        b"-\t-\t2026-11-29T12:30:00.5Z\tdemo-1.0.tar.gz\tby a spreadsheet\r\n",
        b"\xef\xbb\xbf-  -  2026-11-29T12:30:00Z  demo-1.0.tar.gz  by Notepad\r\n",
        SHA256.upper().encode() + b"  7  2026-11-29T12:30:00Z  demo-1.0.tar.gz  \xff\n",
    ],
)
def test_what_editors_make_of_a_line_is_understood(text: bytes):
    assert parse_line(text).name == "demo-1.0.tar.gz"
    assert find_names(b"# before\n" + text.removeprefix(b"\xef\xbb\xbf")) == [b"demo-1.0.tar.gz"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# -  -  2026-11-29T12:30:00Z  demo-1.0.tar.gz",
        b"demo-1.0.tar.gz",
        b"please do not use demo-1.0.tar.gz",
        b"-  -  yesterday  demo-1.0.tar.gz",
        b"-  12  2026-11-29T12:30:00Z",
        b"abc  12  2026-11-29T12:30:00Z  demo-1.0.tar.gz",
        b"-  twelve  2026-11-29T12:30:00Z  demo-1.0.tar.gz",
        b"\0  -  2026-11-29T12:30:00Z  demo-1.0.tar.gz  by alice",
        b"-  -  2026-11-29T12:30:00Z  ../demo-1.0.tar.gz",
        b"-  -  2026-11-29T12:30:00Z  " + b"x" * 256,
    ],
)
def test_anything_else_names_nothing(text: bytes):
    with pytest.raises(InvalidLine):
        parse_line(text)
    assert find_names(text + b"\n") == []


@examples(200)
@given(st.lists(st.one_of(lines.map(format_line), st.binary(max_size=200).map(lambda data: data + b"\n"))))
def test_a_block_names_what_its_lines_name(written: list[bytes]):
    block = b"".join(written)
    expected = []
    for text in block.split(b"\n"):
        try:
            expected.append(parse_line(text).name.encode())
        except InvalidLine:
            continue
    assert find_names(block) == expected


def test_a_long_line_of_garbage_takes_one_pass():
    """The time grows with the length, not with its square: else this would take hours."""
    for filler in (b"-", b" ", b"-  ", string.digits.encode(), b"-  -  2026-"):
        assert find_names(filler * 300_000) == []
