"""How files are served: whole, in part, by HEAD, and never recoded (RFC 9110 sections 8 and 14)."""

from __future__ import annotations

import hashlib
from urllib.parse import urljoin

import pytest

pytestmark = pytest.mark.places


@pytest.fixture(params=["wheel", "sdist"])
def file(request, content):
    """A small one, which a tail request covers whole, and one of several hundred kilobytes."""
    return getattr(content, request.param)


@pytest.fixture
def target(file):
    return f"/simple/demo/{file.filename}"


@pytest.mark.parametrize("coding", [None, "identity", "gzip", "gzip, deflate", "zstd,gzip,deflate", "*"])
def test_a_file_comes_as_it_is(index, file, target, coding):
    """No content coding whatever is offered: clients would unpack it, and the digest would be wrong."""
    reply = index.get(target, headers={} if coding is None else {"Accept-Encoding": coding})

    assert reply.status == 200
    assert reply.header("Content-Encoding") is None
    assert reply.header("Content-Length") == str(len(file.content))
    assert hashlib.sha256(reply.body).hexdigest() == file.sha256
    assert reply.header("Content-Type") == "application/octet-stream"


@pytest.mark.parametrize(
    "accept", [None, "*/*", "text/html", "application/vnd.pypi.simple.v1+json", "image/png"]
)
def test_a_file_is_not_negotiated(index, file, target, accept):
    reply = index.get(target, headers={} if accept is None else {"Accept": accept})

    assert reply.status == 200
    assert reply.body == file.content


def test_head_says_all_that_get_says(index, file, target):
    """pip's lazy wheels and uv read length and ranges from it, with no redirect in between."""
    reply = index.head(target)

    assert reply.status == 200
    assert reply.body == b""
    assert reply.header("Content-Length") == str(len(file.content))
    assert reply.header("Accept-Ranges") == "bytes"
    assert reply.header("ETag") == f'"{file.sha256}"' or file.sha256 in reply.header("ETag")
    assert reply.header("Last-Modified") == "Wed, 03 Feb 2021 04:05:06 GMT"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=0-0", 0, 0),
        ("bytes=100-", 100, None),
        ("bytes=-1", -1, None),
        ("bytes=-500", -500, None),
        ("bytes=50-99999999999999999999", 50, None),
        ("Bytes=1-2", 1, 2),
        ("bytes=5-6 ", 5, 6),
    ],
)
def test_a_part_of_a_file(index, file, target, asked, first, last):
    """206, its place and its length exact (RFC 9110 section 14.4)."""
    size = len(file.content)
    first = first if first >= 0 else size + first
    last = size - 1 if last is None else last

    reply = index.get(target, headers={"Range": asked})

    assert reply.status == 206
    assert reply.header("Content-Range") == f"bytes {first}-{last}/{size}"
    assert reply.header("Content-Length") == str(last - first + 1)
    assert reply.body == file.content[first : last + 1]
    assert reply.header("ETag") == index.head(target).header("ETag")
    assert reply.header("Content-Encoding") is None


def test_a_tail_that_is_longer_than_the_file_is_the_whole_file(index, file, target):
    """poetry asks for the last 10,000 bytes of files of any size."""
    size = len(file.content)
    first = max(0, size - 10_000)

    reply = index.get(target, headers={"Range": "bytes=-10000"})

    assert reply.status == 206
    assert reply.header("Content-Range") == f"bytes {first}-{size - 1}/{size}"
    assert reply.body == file.content[first:]


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes={size}-{size}", "bytes=999999999-", "bytes=-0"])
def test_a_part_that_is_not_there_is_416(index, file, target, asked):
    """With the size, so that a client that resumes can see what it has (RFC 9110 section 15.5.17)."""
    size = len(file.content)

    reply = index.get(target, headers={"Range": asked.format(size=size)})

    assert reply.status == 416
    assert reply.header("Content-Range") == f"bytes */{size}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=", "bytes=a-b", "bytes=9-5", "bytes=-", "lines=0-5", "bytes", "0-99", "bytes=--5", "bytes=1-2-3"],
)
def test_a_range_that_makes_no_sense_is_ignored(index, file, target, asked):
    reply = index.get(target, headers={"Range": asked})

    assert reply.status == 200
    assert reply.body == file.content


def test_several_parts_may_be_answered_with_the_whole(index, file, target):
    """No installer asks for them; they never cost more than the file."""
    reply = index.get(target, headers={"Range": "bytes=0-1,4-5"})

    assert reply.status in (200, 206)
    assert len(reply.body) <= len(file.content) + 1000


def test_a_download_is_resumed_only_if_the_file_is_the_same(index, file, target):
    """If-Range with the tag or the date that was seen; else the whole file (RFC 9110 section 13.1.5)."""
    seen = index.head(target)
    same = [seen.header("ETag"), seen.header("Last-Modified")]
    other = ['"x"', f"W/{seen.header('ETag')}", "Thu, 01 Jan 2015 00:00:00 GMT", "nonsense"]

    for validator in same:
        reply = index.get(target, headers={"Range": "bytes=100-", "If-Range": validator})
        assert (reply.status, reply.body) == (206, file.content[100:]), validator
    for validator in other:
        reply = index.get(target, headers={"Range": "bytes=100-", "If-Range": validator})
        assert (reply.status, reply.body) == (200, file.content), validator


def test_a_page_that_is_asked_for_in_part_is_still_a_page(index):
    """A range of a page is either right or ignored."""
    whole = index.get("/simple/demo/")
    reply = index.get("/simple/demo/", headers={"Range": "bytes=0-9"})

    assert (reply.status, reply.body) in ((200, whole.body), (206, whole.body[:10]))


@pytest.mark.parametrize("suffix", ["", ".metadata"])
def test_special_characters_may_be_escaped_or_not(index, content, suffix):
    """pip escapes `+` and `!`, uv sends them as they stand; a plus is no blank in a path."""
    for file in (content.local, content.epoch):
        expected = file.metadata if suffix else file.content
        for name in (
            file.filename,
            file.filename.replace("+", "%2B").replace("!", "%21"),
            file.filename.replace("+", "%2b"),
        ):
            reply = index.get(f"/simple/demo/{name}{suffix}")
            assert (reply.status, reply.body) == (200, expected), name


def test_an_escaped_letter_is_that_letter(index, content):
    assert (
        index.get(f"/simple/%64emo/{content.wheel.filename.replace('d', '%64', 1)}").body
        == content.wheel.content
    )


def test_the_plain_layout_serves_the_same_file(index, content):
    assert index.get(f"/demo/{content.wheel.filename}").body == content.wheel.content


def test_nothing_but_the_listed_files_is_served(index, content):
    """Neither the sidecars by which people tell the index something, nor other projects' files."""
    for name in (
        f"{content.yanked.filename}.yanked",
        ".archived",
        ".",
        content.spelled.filename,
        content.wheel.filename.upper(),
        content.wheel.filename + "/",
        content.wheel.filename + ".",
        content.wheel.filename + "%20",
    ):
        assert index.get(f"/simple/demo/{name}").status == 404, name
    assert index.get("/simple/archived/.archived").status == 404
    assert index.get("/simple/build/notes.txt").status == 404
    reply = index.get("/notes.txt")
    if reply.status == 301:  # as if it were the name of a project
        reply = index.get(urljoin("/notes.txt", reply.header("Location")))
    assert reply.status == 404
