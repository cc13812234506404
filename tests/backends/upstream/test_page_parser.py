"""Pages of an upstream, read and checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.backends.upstream.page_parser import parse_page
from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.errors import BadGateway
from twisted_index.simple import html_writer, json_writer
from twisted_index.simple.formatting import one_line
from twisted_index.simple.model import File, ProjectPage, ProjectStatus, Sidecar, Status, Yanked
from twisted_index.simple.names import sorted_files, sorted_versions

URL = "https://pypi.example/simple/demo/"
JSON = "application/vnd.pypi.simple.v1+json"
SDIST = "demo-1.0.tar.gz"


def page_of(*files: Any, url: str = URL, **fields: Any) -> RemotePage:
    return parse_page("demo", json.dumps({"files": files, **fields}).encode(), content_type=JSON, url=url)


def urls_of(*urls: str, url: str = URL) -> list[str]:
    return [file.url for file in page_of(*({"url": each} for each in urls), url=url).files]


def html_of(text: str, url: str = URL, **options: Any) -> RemotePage:
    return parse_page("demo", text.encode(), content_type="text/html; charset=utf-8", url=url, **options)


# -- What a link leads to


@pytest.mark.parametrize(
    ("link", "url"),
    [
        (SDIST, f"https://pypi.example/simple/demo/{SDIST}"),
        (f"../../files/{SDIST}#sha256=x", f"https://pypi.example/files/{SDIST}"),
        (f"//files.example/{SDIST}", f"https://files.example/{SDIST}"),
        (f"https://files.example:443/{SDIST}?a=b", f"https://files.example/{SDIST}?a=b"),
        (f"HTTPS://Files.Example:8443/{SDIST}", f"https://files.example:8443/{SDIST}"),
        (f" {SDIST}\n", f"https://pypi.example/simple/demo/{SDIST}"),
        (f"a b/é/{SDIST}", f"https://pypi.example/simple/demo/a%20b/%C3%A9/{SDIST}"),
        (f"https://[2001:db8::1]/{SDIST}", f"https://[2001:db8::1]/{SDIST}"),
        ("demo-1.0%2Blocal.tar.gz", "https://pypi.example/simple/demo/demo-1.0%2Blocal.tar.gz"),
    ],
)
def test_a_link_is_joined_with_where_the_page_was_found(link: str, url: str) -> None:
    assert urls_of(link) == [url]


@pytest.mark.parametrize(
    "link",
    [
        f"http://pypi.example/{SDIST}",
        f"ftp://pypi.example/{SDIST}",
        f"file:///etc/{SDIST}",
        f"javascript:alert(1)//{SDIST}",
        f"data:text/plain,x/{SDIST}",
        f"https://me:secret@pypi.example/{SDIST}",
        f"https://me@pypi.example/{SDIST}",
        f"https://[::1/{SDIST}",
        f"https://pypi.example:port/{SDIST}",
        f"https://pypi.example:99999/{SDIST}",
        f"https://pypi.example:0/{SDIST}",
        f"https://pypi.ex ample/{SDIST}",
        f"https://pypi.example\\@evil.example/{SDIST}",
        f"https://[fe80::1%25eth0]/{SDIST}",
        f"https://pypi.example/\r\nX: y/{SDIST}",
        f"\x00{SDIST}",
        f"{'a' * 9000}/{SDIST}",
        "https://pypi.example/",
        "",
    ],
)
def test_a_link_that_may_not_be_asked_is_left_out(link: str) -> None:
    assert urls_of(link, "demo-2.0.tar.gz") == [f"{URL}demo-2.0.tar.gz"]


def test_a_page_that_came_by_http_may_lead_to_either() -> None:
    links = ("http://files.example/demo-1.0.tar.gz", "https://files.example/demo-2.0.tar.gz")

    assert urls_of(*links, url="http://pypi.example/simple/demo/") == list(links)


@pytest.mark.parametrize(
    "link",
    [
        "other-1.0.tar.gz",
        "demo_extra-1.0-py3-none-any.whl",
        "demo-1.0.egg",
        "demo-1.0.exe",
        "demo-.tar.gz",
        "demo-1.0.tar.gz/",
        "..%2Fdemo-1.0.tar.gz",
        "demo-1.0%0A.tar.gz",
        "demo-1.0.tar.gz%00",
        "..",
        "?C=N;O=D",
        "demo-1.0-py3-none-any.whl.metadata",
    ],
)
def test_what_is_no_file_of_this_project_is_left_out(link: str) -> None:
    assert urls_of(link) == []


def test_a_file_is_named_by_the_end_of_its_url_and_else_by_what_the_page_calls_it() -> None:
    page = page_of(
        {"url": "demo-1.0.tar.gz", "filename": "demo-9.tar.gz"},
        {"url": "/download?id=7", "filename": "demo-2.0.tar.gz"},
        {"url": "/download?id=8", "filename": "../demo-3.0.tar.gz"},
        {"url": "/download?id=9", "filename": "other-3.0.tar.gz"},
    )

    assert [file.file.filename for file in page.files] == ["demo-1.0.tar.gz", "demo-2.0.tar.gz"]


def test_a_name_that_a_listing_cuts_short_is_found_in_the_url() -> None:
    page = html_of('<pre><a href="../">../</a><a href="demo-1.0-py3-none-any.whl">demo-1.0-p..&gt;</a></pre>')

    assert [file.file.filename for file in page.files] == ["demo-1.0-py3-none-any.whl"]


def test_of_two_files_of_one_name_the_first_counts() -> None:
    assert urls_of(f"https://a.example/{SDIST}", f"https://b.example/{SDIST}") == [
        f"https://a.example/{SDIST}"
    ]


def test_a_base_counts_if_it_may_be_asked() -> None:
    link = f"<a href={SDIST}>x</a>"

    assert html_of(f"<base href='https://files.example/x/'>{link}").files[0].url == (
        f"https://files.example/x/{SDIST}"
    )
    assert html_of(f"<base href='/x/'>{link}").files[0].url == f"https://pypi.example/x/{SDIST}"
    assert html_of(f"<base href='http://files.example/'>{link}").files == ()
    with pytest.raises(BadGateway):
        html_of(f"<base href='javascript:x'>{link}")


# -- The rest of the page


def test_a_wheel_has_metadata_though_the_upstream_offers_none_and_an_sdist_has_not() -> None:
    wheel, offered, sdist = page_of(
        {"url": "demo-1.0-py3-none-any.whl"},
        {"url": "demo-2.0-py3-none-any.whl", "core-metadata": True},
        {"url": SDIST, "core-metadata": True},
    ).files

    assert (wheel.file.core_metadata, wheel.offers_metadata) == ({}, False)
    assert (offered.file.core_metadata, offered.offers_metadata) == ({}, True)
    assert (sdist.file.core_metadata, sdist.offers_metadata) == (None, False)


def test_versions_are_those_that_no_file_says() -> None:
    page = page_of(
        {"url": SDIST}, versions=["1.0.0", "2.0", 7, "2.0.0", "1.5-beta", "none", "x" * 5000, None]
    )

    assert page.versions == ("1.5b0", "2.0")


def test_a_quarantined_project_has_no_files() -> None:
    page = page_of({"url": SDIST}, versions=["1.0"], **{"project-status": {"status": "quarantined"}})

    assert (page.files, page.versions, page.status.status) == ((), (), Status.QUARANTINED)


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "text/plain", "image/png\x00", ";", "x" * 999]
)
def test_the_type_alone_says_whether_this_is_a_page(content_type: str) -> None:
    with pytest.raises(BadGateway, match="instead of a simple API page"):
        parse_page("demo", b'{"files": []}', content_type=content_type, url=URL)


def test_a_type_counts_in_any_spelling() -> None:
    page = parse_page("demo", b'{"files": []}', content_type=f"{JSON.upper()} ; charset=utf-8", url=URL)

    assert page == RemotePage(project="demo")


def test_a_page_that_only_the_end_of_the_connection_ended_must_end_like_one() -> None:
    link = f"<html><body><a href={SDIST}>x</a>"

    assert len(html_of(f"{link}</body></html>", whole=False).files) == 1
    with pytest.raises(BadGateway, match="truncated"):
        html_of(link, whole=False)


# -- What we write, we read


_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn", "Co")), max_size=20).map(
    one_line
)
_digest = st.binary(min_size=32, max_size=32).map(bytes.hex)
_hashes = st.none() | _digest.map(lambda value: {"sha256": value})
_times = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def _files(draw: st.DrawFn) -> File:
    version = draw(st.sampled_from(["1.0", "1.0.1", "2!1.0b2", "0.1.dev3+x.1", "3"]))
    is_wheel = draw(st.booleans())
    return File(
        filename=f"demo-{version}-py3-none-any.whl" if is_wheel else f"demo-{version}.tar.gz",
        version=version,
        hashes=draw(_hashes) or {},
        size=draw(st.none() | st.integers(0, 2**40)),
        upload_time=draw(st.none() | _times),
        requires_python=draw(st.sampled_from([None, ">=3.8", "<4,>=3.8", "!=3.0.*"])),
        core_metadata=(draw(_hashes) or {}) if is_wheel else None,
        yanked=draw(st.none() | _texts.map(lambda reason: Yanked(reason=reason))),
        sidecars=frozenset({Sidecar.SIGNATURE} if draw(st.booleans()) else ()),
        provenance_url=draw(st.sampled_from([None, "https://pypi.example/integrity?a=b&c=d"])),
    )


@st.composite
def _pages(draw: st.DrawFn) -> ProjectPage:
    files = sorted_files(draw(st.lists(_files(), max_size=5, unique_by=lambda file: file.filename)))
    marker = draw(st.sampled_from(list(Status)))
    return ProjectPage(
        name="demo",
        files=files,
        versions=sorted_versions(file.version for file in files),
        status=ProjectStatus(status=marker, reason=draw(_texts)),
    )


def _expected(page: ProjectPage) -> RemotePage:
    files = () if page.status.status is Status.QUARANTINED else page.files
    return RemotePage(
        project="demo",
        files=tuple(
            RemoteFile(
                file=file,
                url=URL + file.filename.replace("+", "%2B").replace("!", "%21"),
                offers_metadata=file.core_metadata is not None,
            )
            for file in files
        ),
        status=page.status,
    )


@given(page=_pages())
def test_a_page_that_we_write_in_json_is_read_as_it_was(page: ProjectPage) -> None:
    body = json_writer.write_json_page(page)

    assert parse_page(
        "demo", body, content_type=json_writer.JSON_CONTENT_TYPE.decode(), url=URL
    ) == _expected(page)


@given(page=_pages())
def test_a_page_that_we_write_in_html_is_read_as_it_was(page: ProjectPage) -> None:
    body = html_writer.write_html_page(page, about="../../project/demo/")

    assert parse_page(
        "demo", body, content_type=html_writer.HTML_CONTENT_TYPE.decode(), url=URL
    ) == _expected(page)


# -- Pages without files

#: What servers in the field send of a project that has none.
EMPTY = {
    "pypi": '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.4"></head></html>',
    "pypiserver": "<html><head><title>Links for demo</title></head><body><h1>Links for demo</h1></body>",
    "devpi": '<!DOCTYPE html><html lang="en"><head><title>root/dev: links for demo</title></head>',
    "nexus": '<html><head><title>Links for Demo</title><meta name="api-version" value="2"/></head></html>',
    "artifactory": '<html><head><title>Simple Index</title><meta name="api-version" value="2" />',
    "pytorch": "<!DOCTYPE html><html><body><h1>Links for demo</h1></body></html>",
    "nginx": "<html><head><title>Index of /demo/</title></head><body><h1>Index of /demo/</h1><hr>"
    '<pre><a href="../">../</a></pre><hr></body></html>',
    "apache": '<html><head><title>Index of /demo</title></head><body><a href="/">Parent Directory</a></body>',
    "python": "<html><head><title>Directory listing for /demo/</title></head><body><ul></ul></body></html>",
    "iis": '<html><head><title>host - /demo/</title></head><body><pre><A HREF="/">[To Parent Directory]</A>',
    "caddy": '<html><head><title>Demo/</title></head><body><a href="..">Up</a><script>x</script>',
    "by hand": "<!DOCTYPE html>\n<html>\n  <body>\n  </body>\n</html>\n",
}

#: What comes with 200 when there is no telling.
NO_PAGE = {
    "maintenance": "<html><head><title>Maintenance</title></head><body><h1>Back soon</h1></body></html>",
    "links": "<html><title>Sorry</title><a href='/status'>Status</a> <a href='/help/'>Help</a></html>",
    "sign-in": "<html><head><title>Sign in</title></head><form><input name=user><button>Next</button></form>",
    "application": '<html><head><script src="/app.js"></script></head><body><div id=root></div>',
    "portal": '<html><head><meta http-equiv="refresh" content="0;url=http://portal.example/"></head></html>',
    "framed": '<html><body><iframe src="https://parked.example/"></iframe></body></html>',
    "words": "<html><body>It works!</body></html>",
    "portal with a program": '<html><title>Wi-Fi</title><a href="/portal-1.0.zip">Get the app</a></html>',
    "forge": '<html><title>Sources</title><a href="/team/tool/archive/main.zip">Download ZIP</a></html>',
    "blog": '<html><title>News</title><a href="/other-2.0.tar.gz">other 2.0</a> is out</html>',
    "for people": '<html><title>demo · Registry</title><a href="/simple/demo/">Files of demo</a>',
}


@pytest.mark.parametrize("server", EMPTY)
def test_a_page_of_an_index_may_be_without_files(server: str) -> None:
    assert html_of(EMPTY[server]).files == ()


@pytest.mark.parametrize("kind", NO_PAGE)
def test_a_page_of_the_web_without_files_is_none_of_an_index(kind: str) -> None:
    with pytest.raises(BadGateway, match="does not look like a page of the simple API"):
        html_of(NO_PAGE[kind])


def test_a_page_whose_type_says_that_it_is_of_the_simple_api_is() -> None:
    media_type = "application/vnd.pypi.simple.v1+html"
    assert parse_page("demo", b"<html>None yet.</html>", content_type=media_type, url=URL).files == ()


def test_links_that_are_left_out_are_counted_by_their_reason() -> None:
    page = html_of(
        '<a href="http://files.example/demo-1.0.tar.gz">1</a> <a href="http://files.example/demo-2.0.tar.gz">2</a>'
        '<a href="https://me:word@files.example/demo-3.0.tar.gz">3</a> <a href="other-1.0.tar.gz">4</a>'
        '<a href="demo-1.0-bad-version.whl">5</a> <a href="../">up</a> <a href="README.txt">read</a>'
        '<a href="ftp://files.example/demo-4.0.zip">6</a>'
    )
    assert page.files == ()
    assert page.left_out == {
        "they are linked by http from a page fetched by https": 2,
        "their URL cannot be requested: it contains a user": 1,
        "they are named for another project": 1,
        "their names are not those of a wheel or an sdist with a valid version": 1,
        "their URL cannot be requested: it is neither http nor https": 1,
    }


def test_a_page_whose_links_are_all_left_out_is_a_page_all_the_same() -> None:
    page = html_of("<html><title>Stuff</title><a href='http://files.example/demo-1.0.tar.gz'>x</a></html>")
    assert (page.files, sum(page.left_out.values())) == ((), 1)


@pytest.mark.parametrize("link", ["demo-1.0-bad-version.whl", "Demo.zip", "get?id=7#egg=demo-1.0"])
def test_a_page_with_files_that_are_named_for_the_project_is_a_page(link: str) -> None:
    page = html_of(f"<html><title>Stuff</title><a href='{link}'>demo-1.0.post.tar.gz.zip</a></html>")
    assert sum(page.left_out.values()) == 1 - len(page.files)


def test_what_no_installer_takes_is_left_out_without_a_word() -> None:
    page = html_of('<a href="demo-1.0.egg">1</a><a href="demo-1.0.exe">2</a><a href="demo-1.0.tar.gz">3</a>')
    assert (len(page.files), page.left_out) == (1, {})
