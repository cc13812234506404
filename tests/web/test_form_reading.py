"""Reading forms: whatever bytes come, in whatever pieces, there is a form or a clear sentence."""

from __future__ import annotations

import contextlib
import email.generator
import io
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uploadkit import ACTION, BOUNDARY, END, NAME, form, part, upload_form

from twisted_index.errors import BadRequest, TooLarge
from twisted_index.web.form import MAX_PARTS, MAX_SIGNATURE, Form, FormReader, boundary_of

MOST = 10_000

fuzzed = settings(derandomize=True, max_examples=300, deadline=None)


def read(body: bytes, size: int | None = None, most: int = MOST) -> tuple[Form, bytes]:
    """Read a whole form, in pieces of one size."""
    reader = FormReader(BOUNDARY, max_content=most)
    content = b""
    for start in range(0, len(body), size or max(1, len(body))):
        content += b"".join(reader.feed(body[start : start + (size or len(body))]))
    return reader.finish(), content


FULL = form(
    ACTION,
    part("name", "demo"),
    part("classifiers", "A :: B"),
    part("classifiers", "C :: D"),
    part("requires_python", ""),
    part("license", "UNKNOWN"),
    part("gpg_signature", b"sig", "x.asc", "application/octet-stream"),
    part("content", b"a\r\n--a-boundar\r\n-\r", NAME, "application/octet-stream"),
    part("attestations", "[]"),
    part("version", " 1.0 "),
)
EXPECTED = (
    Form(
        fields={":action": ("file_upload",), "name": ("demo",), "version": ("1.0",)},
        filename=NAME,
        size=18,
        signature=b"sig",
    ),
    b"a\r\n--a-boundar\r\n-\r",
)


def test_a_form_is_the_same_in_pieces_of_every_size():
    for size in range(1, len(FULL) + 1):
        assert read(FULL, size) == EXPECTED


def test_a_form_is_the_same_cut_in_two_at_every_byte():
    for at in range(1, len(FULL)):
        reader = FormReader(BOUNDARY, max_content=MOST)
        content = b"".join(reader.feed(FULL[:at]) + reader.feed(FULL[at:]))
        assert (reader.finish(), content) == EXPECTED


def test_a_form_that_is_cut_off_anywhere_is_refused():
    for at in range(1, len(FULL) - 2):
        with pytest.raises(BadRequest):
            read(FULL[:at])
    assert read(FULL[:-2]) == EXPECTED


@pytest.mark.parametrize("end", [b"x", b"\r\nx", b"\r\n\r\n", b"\n", b"\r\n--a-boundary--\r\n", b"\0" * 100])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_nothing_may_follow_the_end(end: bytes, size: int):
    body = FULL[:-2] + end
    if end == b"\r\n":
        assert read(body, size) == EXPECTED
    else:
        with pytest.raises(BadRequest):
            read(body, size)


def test_empty_and_unknown_fields_are_not_given_and_repeated_ones_are_lists():
    fields = read(form(part("name", ""), part("version", "UNKNOWN"), part("name", "a"), part("name", "b")))[0]
    assert fields.fields == {"name": ("a", "b")}


def test_a_long_description_is_no_burden():
    description = "d\u00e9scription \U0001f40d\r\n\t\f" * 60_000
    assert read(form(ACTION, part("description", description)))[0].fields == {":action": ("file_upload",)}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([part("name", b"a\0b")], "name holds a NUL"),
        ([part("summary", b"a\0b")], "summary holds a NUL"),
        ([part("name", b"\xff")], "name is not in UTF-8"),
        ([part("description", b"\xe2\x82")], "description is not in UTF-8"),
        ([part("name", "a\x1bb")], "name holds control characters"),
        ([part("version", "1\r\n0")], "version holds control characters"),
        ([part("name", "n" * 1025)], "longer than 1024 bytes"),
        ([part("summary", "n", "f.txt")], "Only content and gpg_signature may be files; summary is one"),
        ([part("name", "n", "")], "Only content and gpg_signature may be files; name is one"),
        ([part("content", b"x")], "has to be sent as a file"),
        ([part("content", b"x", "")], "has to be sent as a file"),
        ([part("content", b"x", "a.whl"), part("content", b"y", "a.whl")], "more than one content"),
        ([part("gpg_signature", b"x", "a"), part("gpg_signature", b"y", "a")], "more than once"),
        ([part("gpg_signature", bytes(MAX_SIGNATURE + 1), "a")], "larger than 1024 KiB"),
        ([b"--a-boundary\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition: attachment; name=content\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition: form-data\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition form-data\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition: form-data;\r\n name=x\r\n\r\nx\r\n"], "malformed"),
        (
            [
                b"--a-boundary\r\nContent-Disposition: form-data; name=a\r\n"
                b'Content-Disposition: form-data; name="content"; filename="x"\r\n\r\nx\r\n'
            ],
            "more than one Content-Disposition",
        ),
        ([b"--a-boundary\nContent-Disposition: form-data; name=a\n\nx\n"], "malformed"),
        ([b"preamble\r\n", ACTION], "malformed"),
        ([b"--a-boundary\r\n" + b"X: y\r\n" * 17 + b"\r\n\r\n"], "too long headers"),
        ([b"--a-boundary\r\nX: " + b"y" * 5000 + b"\r\n\r\n\r\n"], "too long headers"),
        ([b"--a-boundary\r\nX: " + b"y" * 500_000], "too long headers"),
        ([part("x", "")] * (MAX_PARTS + 1), "too many parts"),
        ([b"--other-boundary\r\n\r\n"], "malformed"),
        ([b"--a-boundaryX\r\n\r\n"], "malformed"),
        ([b""], "malformed|breaks off"),
    ],
)
@pytest.mark.parametrize("size", [None, 977])
def test_what_is_wrong_is_told(parts: list[bytes], told: str, size: int | None):
    with pytest.raises(BadRequest, match=told) as caught:
        read(form(*parts) if parts != [b""] else b"--a-boundary", size)
    assert caught.value.sentence.isascii()
    assert caught.value.sentence.isprintable()
    assert len(caught.value.sentence) < 250


def test_a_file_is_too_large_by_one_byte():
    assert read(upload_form(bytes(MOST)))[1] == bytes(MOST)
    with pytest.raises(TooLarge, match="larger than 10,000 bytes"):
        read(upload_form(bytes(MOST + 1)))


def test_fields_have_a_bound_together():
    with pytest.raises(BadRequest, match="longer than is taken"):
        read(form(part("description", b"x" * (9 << 20))), 1 << 16)
    with pytest.raises(BadRequest, match="longer than is taken"):
        read(form(*[part("description", b"x" * (6 << 20))] * 3), 1 << 16)


def test_what_stands_around_the_fields_has_a_bound_too():
    lines = b"".join(b"X-%d: " % number + b"y" * 4000 + b"\r\n" for number in range(15))
    bomb = b"--a-boundary\r\nContent-Disposition: form-data; name=x\r\n" + lines + b"\r\n\r\n"
    with pytest.raises(TooLarge):
        read(bomb * 400, 1 << 16)


@fuzzed
@given(st.binary(max_size=300), st.integers(1, 50))
@example(b"--a-boundary--", 3)
@example(b"--a-boundary\r\n--a-boundary--\r\n", 1)
def test_any_bytes_are_a_form_or_a_sentence(body: bytes, size: int):
    with contextlib.suppress(BadRequest):
        read(body, size)


@fuzzed
@given(st.data())
def test_a_damaged_form_is_a_form_or_a_sentence(data: st.DataObject):
    at = data.draw(st.integers(0, len(FULL)))
    gone = data.draw(st.integers(0, 20))
    instead = data.draw(st.binary(max_size=20) | st.sampled_from([END, b"\r\n", b"--", b'"', b"\0", b"\xff"]))
    body = FULL[:at] + instead + FULL[at + gone :]
    size = data.draw(st.integers(1, 99))
    try:
        whole: object = read(body)
    except BadRequest:
        whole = None
    try:
        pieces: object = read(body, size)
    except BadRequest:
        pieces = None
    assert pieces == whole


@fuzzed
@given(
    st.binary(max_size=200), st.text(max_size=50).filter(lambda text: "\0" not in text), st.integers(1, 99)
)
def test_what_is_sent_is_what_is_read(content: bytes, description: str, size: int):
    content = content.replace(b"\r\n--a-boundary", b"")
    body = form(part("description", description.replace("--a-boundary", "")), part("content", content, NAME))
    assert read(body, size)[1] == content


def test_a_form_of_the_standard_library_is_read():
    whole = MIMEMultipart("form-data", BOUNDARY)
    piece = MIMEApplication(b"abc", _encoder=lambda part: None)
    piece.add_header("Content-Disposition", "form-data", name="content", filename=NAME)
    whole.attach(piece)
    out = io.BytesIO()
    email.generator.BytesGenerator(out, policy=email.policy.HTTP).flatten(whole)
    body = out.getvalue().partition(b"\r\n\r\n")[2]
    assert read(body)[1] == b"abc"


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", "abc"),
        (b'multipart/form-data; boundary="a b:c"', "a b:c"),
        (b"multipart/form-data;boundary=" + b"x" * 200, "x" * 200),
    ],
)
def test_the_boundary_is_found(value: bytes, boundary: str):
    assert boundary_of(value) == boundary
