"""Reading forms: whatever bytes come, in whatever pieces, there is a form or a clear sentence."""

from __future__ import annotations

import contextlib
import email.generator
import io
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from tests.kit.uploads import ACTION, BOUNDARY, END, NAME, form, part, upload_form
from twisted_index.errors import BadRequest, ContentTooLarge
from twisted_index.web.uploads.multipart import MAX_PARTS, MAX_PREAMBLE
from twisted_index.web.uploads.multipart_form import (
    MAX_SIGNATURE,
    MultipartFormParser,
    UploadForm,
    parse_boundary,
)

MOST = 10_000

fuzzed = examples(300)


def read(body: bytes, size: int | None = None, most: int = MOST) -> tuple[UploadForm, bytes]:
    """Read a whole form, in pieces of one size."""
    reader = MultipartFormParser(BOUNDARY, max_content=most)
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
    UploadForm(
        fields={":action": ("file_upload",), "name": ("demo",), "version": ("1.0",)},
        filename=NAME,
        size=18,
        signature=b"sig",
        signature_name="x.asc",
    ),
    b"a\r\n--a-boundar\r\n-\r",
)


def test_a_form_is_the_same_in_pieces_of_every_size():
    for size in range(1, len(FULL) + 1):
        assert read(FULL, size) == EXPECTED


def test_a_form_is_the_same_cut_in_two_at_every_byte():
    for at in range(1, len(FULL)):
        reader = MultipartFormParser(BOUNDARY, max_content=MOST)
        content = b"".join(reader.feed(FULL[:at]) + reader.feed(FULL[at:]))
        assert (reader.finish(), content) == EXPECTED


def test_a_form_that_is_cut_off_anywhere_is_refused():
    for at in range(1, len(FULL) - 2):
        with pytest.raises(BadRequest):
            read(FULL[:at])
    assert read(FULL[:-2]) == EXPECTED


@pytest.mark.parametrize("end", [b"x", b"\r\nx", b"\r\n\r\n", b"\n", b"\r\n--a-boundary--\r\n", b"\0" * 100])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_follows_the_end_is_ignored(end: bytes, size: int):
    """RFC 2046 section 5.1.1 calls it the epilogue, and some clients send one."""
    assert read(FULL[:-2] + end, size) == EXPECTED


@pytest.mark.parametrize("size", [1, 10_000, 1 << 20])
def test_what_follows_the_end_has_a_bound(size: int):
    assert read(FULL + bytes(MAX_PREAMBLE - 2), size) == EXPECTED
    with pytest.raises(BadRequest, match="too much data follows its last boundary"):
        read(FULL + bytes(MAX_PREAMBLE - 1), size)


PREAMBLES = {
    "distutils": b"\r\n",
    "mail": b"This is a multi-part message in MIME format.\r\n",
    "many lines": b"\r\n-\r\n--\r\n--a\r\n\n\r\0\xff\r\n",
    "nearly a boundary": b"--a-boundar\r\n--a-boundar\r\n x--a-boundary\r\n",
    "the longest": b"x" * (MAX_PREAMBLE - 2) + b"\r\n",
}


@pytest.mark.parametrize("preamble", PREAMBLES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_what_comes_before_the_first_boundary_is_ignored(preamble: str, size: int):
    """RFC 2046 section 5.1.1 calls it the preamble; the distutils of all Pythons send an empty line."""
    assert read(PREAMBLES[preamble] + FULL, size) == EXPECTED


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_white_space_may_follow_a_boundary(size: int):
    """RFC 2046 section 5.1.1 calls it transport padding."""
    padded = FULL.replace(b"--a-boundary\r\n", b"--a-boundary \t  \r\n").replace(END, END[:-2] + b"  \t\r\n")
    assert read(padded, size) == EXPECTED


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_a_part_may_have_no_body_at_all(size: int):
    """RFC 2046 section 5.1.1: the empty line and the content are optional after the header."""
    bare = b'--a-boundary\r\nContent-Disposition: form-data; name="name"\r\n\r\n--a-boundary--'
    assert read(bare, size)[0].fields == {}


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_all_lines_may_end_in_lf_alone(size: int):
    """So the distutils of Python before 2.7.7 uploads, and every distutils registers."""
    content = b"a\r\n--a-boundar\r\n\r--a-boundary"
    lines = form(ACTION, part("name", "demo")).replace(b"\r\n", b"\n").replace(END[:-2] + b"\n", b"")
    file = b'--a-boundary\nContent-Disposition: form-data; name="content"; filename="x"\n\n'
    found, came = read(b"\n" + lines + file + content + b"\n--a-boundary--\n", size)
    assert found.fields == {":action": ("file_upload",), "name": ("demo",)}
    assert came == content


@pytest.mark.parametrize(
    "value", [b"M\xfcller", b"a\0b", b"\xe2\x82", b"a\rb\nc\x1b", b"UNKNOWN", b"x" * 5000], ids=repr
)
def test_a_field_that_is_not_needed_may_be_anything(value: bytes):
    fields = read(form(ACTION, part("author", value), part("protcol_version", value)))[0].fields
    assert fields == {":action": ("file_upload",)}


@pytest.mark.parametrize(
    "disposition",
    [
        b"Content-Disposition: form-data; name=content; filename=x.whl",
        b"content-disposition:form-data;name=content;filename=x.whl",
        b"Content-Disposition: form-data; name=content; filename=x.whl; filename*=utf-8''x.whl",
        b'Content-Disposition: form-data; name="content";filename="x.whl"',
        b"Content-Disposition: form-data; name=\"content\"; filename*=utf-8''x.whl",
        b"Content-Disposition: form-data; name=\"content\"; filename*=ISO-8859-1'en'x%2Ewhl",
        b"Content-Type: a/b\r\nContent-Length: 99\r\n"
        b'Content-Disposition: form-data; filename="x.whl"; name="content"',
        b"Content-Transfer-Encoding: binary\r\n"
        b'Content-Disposition: FORM-DATA; name="content"; filename="C:\\d\\x.whl"',
    ],
    ids=["net", "lower-case", "net-utf8", "distutils2", "urllib3", "latin-1", "length", "java-ie"],
)
def test_clients_write_the_header_of_a_file_in_many_ways(disposition: bytes):
    found, content = read(form(b"--a-boundary\r\n" + disposition + b"\r\n\r\nabc\r\n"))
    assert (found.filename, content) == ("x.whl", b"abc")


def test_empty_and_unknown_fields_are_not_given_and_repeated_ones_are_lists():
    fields = read(form(part("name", ""), part("version", "UNKNOWN"), part("name", "a"), part("name", "b")))[0]
    assert fields.fields == {"name": ("a", "b")}


def test_a_header_of_a_part_may_go_on_in_the_next_line():
    folded = b'--a-boundary\r\nContent-Disposition: form-data;\r\n name="name"\r\n\r\nx\r\n'
    assert read(form(folded))[0].fields == {"name": ("x",)}


def test_a_long_description_is_no_burden():
    description = "d\u00e9scription \U0001f40d\r\n\t\f" * 60_000
    assert read(form(ACTION, part("description", description)))[0].fields == {":action": ("file_upload",)}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([part("name", b"a\0b")], "name contains control characters"),
        ([part("name", b"\xff")], "name is not in UTF-8"),
        ([part("name", "a\x1bb")], "name contains control characters"),
        ([part("version", "1\r\n0")], "version contains control characters"),
        ([part("name", "n" * 1025)], "longer than 1024 bytes"),
        ([part("summary", "n", "f.txt")], "Only content and gpg_signature may be files; summary is one"),
        ([part("name", "n", "")], "Only content and gpg_signature may be files; name is one"),
        ([part("content", b"x")], "must be sent as a file"),
        ([part("content", b"x", "")], "must be sent as a file"),
        ([part("content", b"x", "a.whl"), part("content", b"y", "a.whl")], "more than one content"),
        ([part("gpg_signature", b"x", "a"), part("gpg_signature", b"y", "a")], "more than once"),
        ([part("gpg_signature", bytes(MAX_SIGNATURE + 1), "a")], "larger than 1024 KiB"),
        ([b"--a-boundary\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition: attachment; name=content\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition: form-data\r\n\r\nx\r\n"], "has no name"),
        ([b"--a-boundary\r\nContent-Disposition form-data\r\n\r\nx\r\n"], "malformed"),
        (
            [
                b"--a-boundary\r\nContent-Disposition: form-data; name=a\r\n"
                b'Content-Disposition: form-data; name="content"; filename="x"\r\n\r\nx\r\n'
            ],
            "does not have one Content-Disposition",
        ),
        ([b"--a-boundary\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nContent-Disposition: form-data; name=a\n\r\nx\r\n"], "malformed"),
        ([b"--a-boundary\r\nX: \xff\r\n\r\nx\r\n"], "not in UTF-8"),
        ([b"\r\n" * (MAX_PREAMBLE // 2 + 1), ACTION], "boundary of its Content-Type does not occur"),
        ([b"--a-boundary\r\n" + b"X: y\r\n" * 17 + b"\r\n\r\n"], "part headers are too long"),
        ([b"--a-boundary\r\nX: " + b"y" * 5000 + b"\r\n\r\n\r\n"], "part headers are too long"),
        ([b"--a-boundary\r\nX: " + b"y" * 500_000], "part headers are too long"),
        ([b"--a-boundary\r\nX: y\r\n" + b" y\r\n" * 9000], "part headers are too long"),
        ([part("x", "")] * (MAX_PARTS + 1), "too many parts"),
        ([b"--other-boundary\r\n\r\n" * 5000], "does not occur"),
        ([b"--a-boundaryX\r\n\r\n"], "malformed"),
        ([b""], "malformed|truncated"),
    ],
)
@pytest.mark.parametrize("size", [None, 977])
def test_what_is_wrong_is_told(parts: list[bytes], told: str, size: int | None):
    with pytest.raises(BadRequest, match=told) as caught:
        read(form(*parts) if parts != [b""] else b"--a-boundary", size)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250


def test_a_file_is_too_large_by_one_byte():
    assert read(upload_form(bytes(MOST)))[1] == bytes(MOST)
    with pytest.raises(ContentTooLarge, match="larger than the limit of 10,000 bytes"):
        read(upload_form(bytes(MOST + 1)))


def test_fields_have_a_bound_together():
    with pytest.raises(BadRequest, match="longer than the server accepts"):
        read(form(part("description", b"x" * (9 << 20))), 1 << 16)
    with pytest.raises(BadRequest, match="longer than the server accepts"):
        read(form(*[part("description", b"x" * (6 << 20))] * 3), 1 << 16)


def test_what_stands_around_the_fields_has_a_bound_too():
    lines = b"".join(b"X-%d: " % number + b"y" * 4000 + b"\r\n" for number in range(15))
    bomb = b"--a-boundary\r\nContent-Disposition: form-data; name=x\r\n" + lines + b"\r\n\r\n"
    with pytest.raises(ContentTooLarge):
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
    preamble = data.draw(st.sampled_from([b"", b"\r\n", b"\n", b"one\r\n--two\r\n", b"\r\n--a-boundary"]))
    at = data.draw(st.integers(0, len(FULL)))
    gone = data.draw(st.integers(0, 20))
    pieces_of_grammar = [END, END[:-4], b"\r\n", b"\n", b"\r", b"--", b" \t", b'"', b"\0", b"\xff"]
    instead = data.draw(st.binary(max_size=20) | st.sampled_from(pieces_of_grammar))
    body = preamble + FULL[:at] + instead + FULL[at + gone :]
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
    "name", ['"content"; filename="x.whl"', '"name"', '"gpg_signature"; filename="x.asc"']
)
def test_what_is_not_sent_as_it_is_is_refused(name: str):
    """As the standard library for mail does it by default; RFC 7578 section 4.7."""
    head = f"--a-boundary\r\nContent-Transfer-Encoding: Base64\r\nContent-Disposition: form-data; name={name}"
    with pytest.raises(BadRequest, match="has the encoding base64; send it without one"):
        read(form(f"{head}\r\n\r\nYWJj\r\n".encode()))
    head = head.replace(name, '"description"')
    assert read(form(ACTION, f"{head}\r\n\r\nYWJj\r\n".encode()))[0].fields == {":action": ("file_upload",)}


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", "abc"),
        (b'multipart/form-data; boundary="a b:c"', "a b:c"),
        (b"multipart/form-data;boundary=" + b"x" * 200, "x" * 200),
        (b"multipart/form-data; boundary=----=_Part_1_12.34", "----=_Part_1_12.34"),
        (b"multipart/form-data; charset=utf-8; boundary=abc;", "abc"),
        (b"Multipart/Form-Data; Boundary=abc ; charset=utf-8", "abc"),
        (b'multipart/form-data; x="; boundary=no"; boundary=abc', "abc"),
        (b"multipart/form-data; x-boundary=no; boundary=abc", "abc"),
    ],
)
def test_the_boundary_is_found(value: bytes, boundary: str):
    assert parse_boundary(value) == boundary
