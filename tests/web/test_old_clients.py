"""What upload clients of twenty years send, byte by byte, through a whole site and in pieces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from tests.kit.uploads import ALICE, UploadSite

FILE = "Old.Demo_pkg-1.0.tar.gz"
CONTENT = b"\x1f\x8b\x08\r\n--------\r\r\n\n\0"
BOUNDARY = "--------------GHSKFJDLGDS7543FJKLFHRE75642756743254"

Pairs = list[tuple[str, "str | bytes | tuple[str, bytes]"]]


@dataclass(frozen=True, kw_only=True)
class Distutils:
    """How one distutils writes its forms: each part begins with a line end, and none ends with one."""

    line_end: str = "\r\n"
    filename: str = '; filename="{}"'
    end: str = "--\r\n"
    content_type: str = f"multipart/form-data; boundary={BOUNDARY}"

    def write(self, pairs: Pairs) -> bytes:
        body = b""
        for name, value in pairs:
            filename, data = value if isinstance(value, tuple) else (None, value)
            head = f'{self.line_end}--{BOUNDARY}{self.line_end}Content-Disposition: form-data; name="{name}"'
            if filename is not None:
                head += self.filename.format(filename)
            data = data.encode() if isinstance(data, str) else data
            body += (head + self.line_end * 2).encode() + data
        return body + f"{self.line_end}--{BOUNDARY}{self.end}".encode()


# Python 2.7.7 to 2.7.18, 3.2 to 3.11; before that the lines of an upload ended in LF alone, and those
# of a registration do so up to Python 3.11.
PYTHON_2 = Distutils(filename=';filename="{}"')
PYTHON_2_6 = Distutils(line_end="\n", filename=';filename="{}"', end="--\n")
PYTHON_3 = Distutils()
REGISTER = Distutils(
    line_end="\n", end="--\n", content_type=f"multipart/form-data; boundary={BOUNDARY}; charset=utf-8"
)


def described(**more: Any) -> Pairs:
    """What every distutils says besides the file, with its UNKNOWN, its empty and its repeated fields."""
    return [
        ("name", "Old.Demo-pkg"),
        ("version", "1.0"),
        ("filetype", "sdist"),
        ("pyversion", "source"),
        ("metadata_version", "1.0"),
        ("summary", "UNKNOWN"),
        ("home_page", "UNKNOWN"),
        ("author", "M\u00fcller"),
        ("license", "UNKNOWN"),
        ("description", "first\r\nsecond\rthird\nfourth\r"),
        ("keywords", ""),
        ("platform", "UNKNOWN"),
        ("classifiers", "A :: B"),
        ("classifiers", "C :: D"),
        ("comment", ""),
        *more.items(),
    ]


ACTION: Pairs = [(":action", "file_upload")]
TYPO: Pairs = [("protcol_version", "1")]
FILES: Pairs = [("content", (FILE, CONTENT))]
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BLAKE = hashlib.blake2b(CONTENT).hexdigest()

FORMS = {
    "2.7": (PYTHON_2, [*FILES, *described(md5_digest=MD5), *ACTION, *TYPO]),
    "2.7 in Latin-1": (PYTHON_2, [*ACTION, *FILES, *described(md5_digest=MD5, author_email=b"M\xfcller")]),
    "2.6": (PYTHON_2_6, [*described(md5_digest=MD5), *FILES, *ACTION, *TYPO]),
    "3.6": (PYTHON_3, [*ACTION, *TYPO, *FILES, *described(md5_digest=MD5)]),
    "3.11": (
        PYTHON_3,
        [
            *ACTION,
            ("protocol_version", "1"),
            *FILES,
            *described(md5_digest=MD5, sha256_digest=SHA256, blake2_256_digest=BLAKE),
        ],
    ),
    "3.11 under FIPS": (
        PYTHON_3,
        [*ACTION, *FILES, *described(sha256_digest=SHA256, blake2_256_digest=BLAKE)],
    ),
}


def send(site: UploadSite, style: Distutils, pairs: Pairs, size: int, version: str = "1.1") -> bytes:
    """Send a form in pieces of one size, and give what comes back."""
    body = style.write(pairs)
    head = (
        f"POST /legacy/ HTTP/{version}\r\nAccept-Encoding: identity\r\nContent-length: {len(body)}\r\n"
        f"Host: index.test\r\nUser-Agent: Python-urllib/2.7\r\nContent-type: {style.content_type}\r\n"
        f"Connection: close\r\nAuthorization: {ALICE}\r\n\r\n"
    )
    connection = site.connect()
    connection.send(head.encode())
    for start in range(0, len(body), size):
        connection.send(body[start : start + size])
        site.settle()
    return connection.received


@pytest.mark.parametrize("python", FORMS)
@pytest.mark.parametrize("size", [1, 13, 1 << 16])
def test_each_distutils_uploads(python: str, size: int):
    site = UploadSite()
    answer = send(site, *FORMS[python], size)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert site.store.files == {FILE: CONTENT}


def test_an_old_client_may_speak_http_1_0():
    site = UploadSite()
    assert b" 200 " in send(site, *FORMS["2.7"], 999, version="1.0").split(b"\r\n")[0]
    assert site.store.files == {FILE: CONTENT}


@pytest.mark.parametrize("digest", ["md5_digest", "sha256_digest"])
def test_the_digest_that_can_be_one_has_to_be_right(digest: str):
    site = UploadSite()
    said = {"blake2_256_digest": BLAKE, digest: "0" * (32 if digest == "md5_digest" else 64)}
    answer = send(site, PYTHON_3, [*ACTION, *FILES, *described(**said)], 999)
    assert answer.startswith(b"HTTP/1.1 400 The received bytes do not match " + digest.encode())
    assert site.store.files == {}


def test_a_digest_that_cannot_be_one_is_not_enough_alone():
    answer = send(UploadSite(), PYTHON_3, [*ACTION, *FILES, *described(blake2_256_digest=BLAKE)], 999)
    assert answer.startswith(
        b"HTTP/1.1 400 blake2_256_digest is not 64 hex digits, and no other digest was sent"
    )


@pytest.mark.parametrize("action", ["submit", "verify"])
def test_a_registration_is_told_that_none_is_needed(action: str):
    answer = send(UploadSite(), REGISTER, [(":action", action), *described()], 7)
    assert answer.startswith(b"HTTP/1.1 410 %s is no longer supported" % action.encode())


@pytest.mark.parametrize("order", [1, -1])
def test_documentation_is_told_so_before_its_file_name_is_judged(order: int):
    """setuptools calls it NAME.zip, which is no name of an sdist; Python 2 sends its fields in any order."""
    pairs: Pairs = [(":action", "doc_upload"), ("name", "demo"), ("content", ("demo.zip", CONTENT))]
    answer = send(UploadSite(), PYTHON_2, pairs[::order], 7)
    assert answer.startswith(b"HTTP/1.1 410 doc_upload is no longer supported by package indexes")


def test_pypiserver_s_removal_is_told_how_it_is_done_here():
    pairs: Pairs = [(":action", "remove_pkg"), ("name", "demo"), ("version", "1.0")]
    answer = send(UploadSite(), PYTHON_3, pairs, 99)
    assert answer.startswith(b"HTTP/1.1 400 remove_pkg is not supported. Send DELETE to the URL of the file")
    assert b"twisted-index delete" in answer


@pytest.mark.parametrize("action", ["remove_pkg", "submit", "verify", "doc_upload"])
@pytest.mark.parametrize("place", ["body", "query"])
def test_what_is_asked_by_a_plain_form_is_answered_as_in_one_with_files(action: str, place: str):
    """So send it scripts that use `curl -d`, and `requests.post(url, data=...)`."""
    asked = f"%3Aaction={action}&name=demo&version=1.0"
    path, body = ("/legacy/", asked) if place == "body" else (f"/legacy/?{asked}", "")
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = UploadSite().upload(body.encode(), path=path, headers=plain)
    assert reply.status == (400 if action == "remove_pkg" else 410)
    assert reply.text.startswith(f"{action} is no")


def test_a_file_that_comes_in_no_form_is_told_how_to_send_it():
    plain = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = UploadSite().upload(b":action=file_upload&content=x", headers=plain)
    assert (reply.status, reply.text) == (415, "Send the file as multipart/form-data, as twine and uv do.\n")


@pytest.mark.parametrize("body", [b"\xff", b"%ff=%ff", b":action=\xff", b"\x00&&=;"])
def test_a_body_that_is_no_form_is_refused_whatever_its_bytes_are(body: bytes):
    reply = UploadSite().upload(body, headers={"Content-Type": "application/octet-stream"})
    assert 400 <= reply.status < 500
