"""Pages of other indexes, read from HTML."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.html_parser import parse_html_page
from twisted_index.simple.model import ProjectStatus, Status, Yanked
from twisted_index.simple.parsed import InvalidPage, ParsedFile, ParsedPage

SHA256 = "0123456789abcdef" * 4
MD5 = "0123456789abcdef" * 2


def read(text: str) -> ParsedPage:
    return parse_html_page(text.encode())


def anchor(attributes: str, href: str = "a-1.tar.gz") -> ParsedFile:
    return read(f'<a href="{href}" {attributes}>a-1.tar.gz</a>').files[0]


def test_a_file_is_read_with_all_that_is_said_of_it() -> None:
    file = anchor(
        f'data-requires-python="&gt;=3.8" data-core-metadata="sha256={SHA256}" data-yanked="a &lt; b"'
        ' data-gpg-sig="true" data-provenance="https://pypi.example/p" data-size="7"'
        ' data-upload-time="2024-01-02T03:04:05Z"',
        f"../../a-1.tar.gz#sha256={SHA256}",
    )

    assert file == ParsedFile(
        url=f"../../a-1.tar.gz#sha256={SHA256}",
        name="a-1.tar.gz",
        hashes={"sha256": SHA256},
        size=7,
        upload_time=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        requires_python=">=3.8",
        core_metadata={"sha256": SHA256},
        yanked=Yanked(reason="a < b"),
        signed=True,
        provenance_url="https://pypi.example/p",
    )


@pytest.mark.parametrize(
    ("fragment", "hashes"),
    [
        (f"sha256={SHA256}", {"sha256": SHA256}),
        (f"md5={MD5}", {"md5": MD5}),
        (f"egg=a&amp;sha256={SHA256}&amp;md5={MD5}", {"sha256": SHA256, "md5": MD5}),
        ("egg=a", {}),
        ("sha256=", {}),
        ("sha256=zz", {}),
        (f"sha257={SHA256}", {}),
        ("", {}),
    ],
)
def test_known_digests_are_found_in_a_fragment(fragment: str, hashes: dict[str, str]) -> None:
    assert anchor("", f"a-1.tar.gz#{fragment}").hashes == hashes


@pytest.mark.parametrize(
    ("attributes", "core_metadata"),
    [
        ('data-core-metadata="true"', {}),
        ('data-dist-info-metadata="true"', {}),
        (f'data-dist-info-metadata="sha256={SHA256}"', {"sha256": SHA256}),
        ('data-core-metadata="false" data-dist-info-metadata="true"', None),
        ("data-core-metadata", None),
        ("", None),
    ],
)
def test_core_metadata_is_offered_under_either_name(attributes: str, core_metadata: object) -> None:
    assert anchor(attributes).core_metadata == core_metadata


@pytest.mark.parametrize("attributes", ["data-yanked", 'data-yanked=""'])
def test_a_file_is_yanked_without_a_reason_too(attributes: str) -> None:
    assert anchor(attributes).yanked == Yanked()


def test_of_two_attributes_of_one_name_the_first_counts() -> None:
    assert anchor('data-size="1" data-size="2"').size == 1


def test_a_listing_of_a_web_server_is_read() -> None:
    page = read(
        "<html><head><title>Index of /a/</title></head><body><h1>Index of /a/</h1><hr><pre>"
        '<a href="../">../</a>\n<a href="a-1.tar.gz">a-1.tar.gz</a>   01-Jan-2024 10:00   123\n'
        '<A HREF=a_very_long_name-1.tar.gz>a_very_long_na..&gt;</A>\n<a name="x">no link</a>'
    )

    assert [file.url for file in page.files] == ["../", "a-1.tar.gz", "a_very_long_name-1.tar.gz"]


def test_what_stands_in_scripts_styles_and_comments_is_no_file() -> None:
    page = read(
        "<script>document.write(\"<a href='evil-1.tar.gz'>x</a>\")</script><style>a{}</style>"
        "<!-- <a href='old-1.tar.gz'>x</a> --><a href='good-1.tar.gz'>x</a>"
    )

    assert [file.url for file in page.files] == ["good-1.tar.gz"]


def test_a_base_and_a_status_are_read() -> None:
    page = read(
        '<base href="https://files.example/"><meta name="pypi:project-status" content="archived">'
        '<meta name="pypi:project-status-reason" content="old">'
    )

    assert page.base == "https://files.example/"
    assert page.status == ProjectStatus(status=Status.ARCHIVED, reason="old")


@pytest.mark.parametrize(
    "text",
    [
        '<meta name="pypi:repository-version" content="2.0">',
        '<form><input name=p type="Password"></form>',
        "<a " + "x" * 2_000_000,
        "<!--" + "<!--" * 500_000,
        "<" * 2_000_000,
        " " * 40_000_000,
    ],
)
def test_what_is_no_page_of_an_index_is_refused(text: str) -> None:
    with pytest.raises(InvalidPage):
        read(text)


def test_a_page_in_another_encoding_is_read_as_far_as_it_matters() -> None:
    body = "<a href='a-1.tar.gz' data-yanked='été'>x</a>".encode("latin-1")

    assert parse_html_page(body, "iso-8859-1").files[0].yanked == Yanked(reason="été")
    assert parse_html_page(body, "zlib").files[0].url == "a-1.tar.gz"


def test_nulls_and_broken_tags_do_not_hide_what_follows() -> None:
    page = read("\x00<a href='\x00'>x</a><a <b></p></html></table><a href=a-1.tar.gz>x")

    assert page.files[-1].url == "a-1.tar.gz"


_markup = st.lists(
    st.sampled_from(
        (
            *("<a href='x'>", "</a>", "<!--", "-->", "<script>", "</script>", "<![CDATA[", "<!", "<?"),
            *("'", '"', ">", "&#x110000;", "&#0;", "&amp", "\x00", "<meta name=pypi:x content>", "<base>"),
        )
    )
    | st.text(max_size=5)
).map("".join)


@given(text=_markup)
def test_markup_of_any_kind_is_read(text: str) -> None:
    read(text)


@given(body=st.binary())
def test_bytes_of_any_kind_are_read(body: bytes) -> None:
    parse_html_page(body)
