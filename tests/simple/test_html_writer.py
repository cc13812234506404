"""Pages of the simple API in HTML."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.html_writer import HTML_CONTENT_TYPE, write_html_list, write_html_page
from twisted_index.simple.model import (
    File,
    ProjectList,
    ProjectPage,
    ProjectStatus,
    Sidecar,
    Status,
    Yanked,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SHA256 = "0123456789abcdef" * 4
WHEEL = "demo-1.0-py3-none-any.whl"
SDIST = "demo-1.0.tar.gz"


def parse(written: bytes) -> Element:
    """Parse a page as HTML5, refusing whatever the standard calls a parse error."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    document: Element = parser.parse(written, transport_encoding="utf-8")
    return document


def document_of(public_url: str | None = None, **fields: Any) -> Element:
    page = ProjectPage(**{"name": "demo"} | fields)
    return parse(write_html_page(page, public_url=public_url))


def anchors_of(*files: File, public_url: str | None = None) -> list[dict[str, str]]:
    """Write a page and give the attributes of its anchors."""
    return [dict(anchor.items()) for anchor in document_of(public_url, files=files).iter("a")]


def anchor_of(public_url: str | None = None, **fields: Any) -> dict[str, str]:
    file = File(**{"filename": WHEEL, "version": "1.0"} | fields)
    return anchors_of(file, public_url=public_url)[0]


def metas_of(document: Element) -> dict[str, str]:
    head = document.find("head")
    assert head is not None
    return {meta.get("name", ""): meta.get("content", "") for meta in head.iter("meta")}


def line_of(written: bytes, filename: str) -> str:
    return next(line for line in written.decode().splitlines() if f">{filename}</a>" in line)


def page_of(*files: File) -> bytes:
    return write_html_page(ProjectPage(name="demo", files=files, versions=("1.0",)))


# -- The list


def test_the_list_links_each_project_by_a_relative_url_with_a_slash() -> None:
    document = parse(write_html_list(ProjectList(names=("a", "b-c"))))

    assert [(a.get("href"), a.text) for a in document.iter("a")] == [("a/", "a"), ("b-c/", "b-c")]


def test_the_list_tells_the_version_of_the_api() -> None:
    assert metas_of(parse(write_html_list(ProjectList())))["pypi:repository-version"] == "1.4"


def test_the_list_of_an_empty_index_is_a_valid_document() -> None:
    assert list(parse(write_html_list(ProjectList())).iter("a")) == []


def test_each_project_has_a_line_of_its_own() -> None:
    lines = write_html_list(ProjectList(names=("a", "b"))).splitlines()

    assert [line for line in lines if b"<a " in line] == [b'<a href="a/">a</a>', b'<a href="b/">b</a>']


# -- The document


def test_a_page_is_html5_with_a_title() -> None:
    written = page_of()

    assert written.startswith(b"<!DOCTYPE html>\n")
    assert parse(written).findtext("head/title") == "Index of demo"


def test_a_page_tells_the_version_of_the_api_even_if_sizes_are_missing() -> None:
    assert (
        metas_of(document_of(files=(File(filename=SDIST, version="1.0"),)))["pypi:repository-version"]
        == "1.4"
    )


def test_a_page_has_no_anchor_but_its_files() -> None:
    document = document_of(files=(File(filename=SDIST, version="1.0"), File(filename=WHEEL, version="1.0")))

    assert [anchor.text for anchor in document.iter("a")] == [SDIST, WHEEL]


def test_a_page_has_no_base() -> None:
    assert b"<base" not in page_of(File(filename=SDIST, version="1.0"))


def test_a_page_loads_nothing_from_anywhere() -> None:
    document = document_of(files=(File(filename=SDIST, version="1.0"),))

    assert not [e for e in document.iter() if e.tag in ("link", "script", "img") or e.get("src")]


def test_the_same_page_is_the_same_bytes() -> None:
    files = (File(filename=WHEEL, version="1.0", sidecars=frozenset(Sidecar)),)

    assert page_of(*files) == page_of(*files)


# -- The status


def test_the_status_and_its_reason_are_metas_in_the_head() -> None:
    metas = metas_of(document_of(status=ProjectStatus(status=Status.ARCHIVED, reason='"done" & <over>\n')))

    assert metas["pypi:project-status"] == "archived"
    assert metas["pypi:project-status-reason"] == '"done" & <over>'


def test_an_active_project_without_a_reason_has_no_meta_for_one() -> None:
    metas = metas_of(document_of())

    assert metas["pypi:project-status"] == "active"
    assert "pypi:project-status-reason" not in metas


def test_people_can_read_the_status_and_its_reason() -> None:
    document = document_of(status=ProjectStatus(status=Status.DEPRECATED, reason="use <other>"))
    text = "".join(next(p for p in document.iter("p") if p.get("class") == "status").itertext())

    assert "deprecated" in text
    assert text.endswith("use <other>")


def test_a_quarantined_project_lists_no_files() -> None:
    files = (File(filename=SDIST, version="1.0"),)
    document = document_of(files=files, status=ProjectStatus(status=Status.QUARANTINED))

    assert not list(document.iter("a"))


# -- The anchors


def test_a_link_is_relative_and_carries_the_sha256() -> None:
    assert anchor_of(hashes={"md5": "00", "sha256": SHA256})["href"] == f"{WHEEL}#sha256={SHA256}"


def test_a_link_without_sha256_has_no_fragment() -> None:
    assert anchor_of(hashes={"sha1": "00"})["href"] == WHEEL


def test_a_plus_in_a_link_is_escaped() -> None:
    assert anchor_of(filename="demo-1.0+x.tar.gz")["href"] == "demo-1.0%2Bx.tar.gz"


def test_all_that_is_known_of_a_file_is_in_its_attributes_in_one_order() -> None:
    file = File(
        filename=WHEEL,
        version="1.0",
        hashes={"sha256": SHA256},
        size=7,
        upload_time=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        requires_python=">=3.8,<4",
        core_metadata={"sha256": SHA256},
        yanked=Yanked(reason='a "bad" <file> & more'),
        sidecars=frozenset({Sidecar.SIGNATURE, Sidecar.PROVENANCE}),
    )
    written = write_html_page(ProjectPage(name="demo", files=(file,)), public_url="https://index.example")

    assert line_of(written, WHEEL).startswith(
        f'<a href="{WHEEL}#sha256={SHA256}" data-requires-python="&gt;=3.8,&lt;4"'
        f' data-core-metadata="sha256={SHA256}" data-dist-info-metadata="sha256={SHA256}"'
        ' data-yanked="a &quot;bad&quot; &lt;file&gt; &amp; more" data-gpg-sig="true"'
        f' data-provenance="https://index.example/simple/demo/{WHEEL}.provenance"'
        f' data-upload-time="2024-01-02T03:04:05Z" data-size="7">{WHEEL}</a>'
    )


def test_what_is_not_known_of_a_file_is_left_out() -> None:
    assert anchor_of() == {"href": WHEEL}


def test_core_metadata_of_unknown_digest_is_true_under_both_names() -> None:
    anchor = anchor_of(core_metadata={})

    assert (anchor["data-core-metadata"], anchor["data-dist-info-metadata"]) == ("true", "true")


def test_core_metadata_of_an_sdist_is_not_told() -> None:
    assert "data-core-metadata" not in anchor_of(filename=SDIST, core_metadata={"sha256": SHA256})


def test_a_yank_without_a_reason_is_an_empty_attribute() -> None:
    assert anchor_of(yanked=Yanked())["data-yanked"] == ""


def test_signatures_are_told_on_every_link_if_on_any() -> None:
    signed = File(filename=SDIST, version="1.0", sidecars=frozenset({Sidecar.SIGNATURE}))
    other = File(filename=WHEEL, version="1.0")

    assert [anchor["data-gpg-sig"] for anchor in anchors_of(signed, other)] == ["true", "false"]


def test_signatures_are_not_told_if_there_are_none() -> None:
    assert "data-gpg-sig" not in anchor_of()


@pytest.mark.parametrize("public_url", [None, "http://index.example/"])
def test_provenance_is_not_told_without_https(public_url: str | None) -> None:
    assert "data-provenance" not in anchor_of(public_url, sidecars=frozenset({Sidecar.PROVENANCE}))


# -- For people


def test_names_dates_and_sizes_stand_in_columns_of_text() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    document = document_of(
        files=(
            File(filename=SDIST, version="1.0", size=999, upload_time=moment),
            File(filename=WHEEL, version="1.0", size=12_345, upload_time=moment),
            File(filename="demo-1.0.zip", version="1.0"),
        )
    )
    text = "".join(next(document.iter("pre")).itertext())

    assert text.splitlines() == [
        "Name                       Uploaded (UTC)        Size",
        "demo-1.0.tar.gz            2024-01-02 03:04     999 B",
        "demo-1.0-py3-none-any.whl  2024-01-02 03:04   12.3 kB",
        "demo-1.0.zip               -                        -",
    ]


def test_one_long_name_does_not_move_the_dates_of_all_the_others() -> None:
    long = File(filename=f"demo-1.0-py3-none-{'x' * 80}.whl", version="1.0")
    others = [File(filename=f"demo-1.{i}.tar.gz", version=f"1.{i}") for i in range(20)]
    widths = [len(re.sub("<[^>]*>", "", line_of(page_of(long, *others), f.filename))) for f in others]

    assert max(widths) < len(long.filename)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
        (7_200_000_000_000, "7.2 TB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_keeps_it_short(size: int, shown: str) -> None:
    written = page_of(File(filename=SDIST, version="1.0", size=size))

    assert line_of(written, SDIST).endswith(" " + shown)


@pytest.mark.parametrize(("reason", "shown"), [("", "yanked"), ("a <bad> file\n", "yanked: a <bad> file")])
def test_a_yanked_file_says_so_in_text_with_the_reason(reason: str, shown: str) -> None:
    document = document_of(files=(File(filename=SDIST, version="1.0", yanked=Yanked(reason=reason)),))

    assert document.findtext("body/main/pre/em") == shown


def test_a_page_ends_with_what_it_amounts_to() -> None:
    written = page_of(
        File(filename=SDIST, version="1.0", size=500), File(filename=WHEEL, version="1.0", size=600)
    )

    assert "<p>2 files, 1 release, 1.1 kB</p>" in written.decode()


def test_a_project_without_files_says_so() -> None:
    assert "<p>No files.</p>" in page_of().decode()


# -- Whatever comes


TEXT = st.text(max_size=20) | st.text("&<>\"' \n\x00\x85\ufffe\udc80é+:/", max_size=8)
FILES = st.builds(
    File,
    filename=TEXT,
    version=st.just("1.0"),
    hashes=st.dictionaries(st.just("sha256"), TEXT),
    size=st.none() | st.integers(min_value=0),
    upload_time=st.none() | st.datetimes(timezones=st.just(UTC)),
    requires_python=st.none() | TEXT,
    core_metadata=st.none() | st.dictionaries(st.just("sha256"), TEXT),
    yanked=st.none() | st.builds(Yanked, reason=TEXT),
    sidecars=st.frozensets(st.sampled_from(Sidecar)),
    provenance_url=st.none() | TEXT.map("https://".__add__),
)
PAGES = st.builds(
    ProjectPage,
    name=TEXT,
    files=st.lists(FILES, max_size=3).map(tuple),
    status=st.builds(
        ProjectStatus,
        status=st.sampled_from([Status.ACTIVE, Status.ARCHIVED, Status.DEPRECATED]),
        reason=TEXT,
    ),
)


@given(PAGES)
def test_whatever_files_are_called_a_page_is_strict_html5_with_an_anchor_for_each(page: ProjectPage) -> None:
    anchors = list(parse(write_html_page(page, about="../../project/demo/")).iter("a"))

    assert len(anchors) == len(page.files)


def test_the_page_for_people_is_named_in_the_head_and_by_a_button():
    written = parse(write_html_page(ProjectPage(name="demo"), about="../../project/demo/"))
    (link,) = written.iter("link")
    assert dict(link.items()) == {"rel": "alternate", "type": "text/html", "href": "../../project/demo/"}
    (form,) = written.iter("form")
    assert form.get("action") == "../../project/demo/"


def test_the_list_leads_people_to_the_index_and_has_anchors_for_projects_alone():
    written = parse(write_html_list(ProjectList(names=("demo", "other")), about="../"))
    (form,) = written.iter("form")
    assert form.get("action") == "../"
    assert [anchor.text for anchor in written.iter("a")] == ["demo", "other"]


def test_a_page_without_a_page_for_people_leads_to_none():
    written = parse(write_html_page(ProjectPage(name="demo")))
    assert not [*written.iter("link"), *written.iter("form")]


@given(PAGES)
def test_whatever_files_are_called_each_has_one_line_and_no_raw_angle_in_an_attribute(
    page: ProjectPage,
) -> None:
    lines = [line for line in write_html_page(page).decode().split("\n") if "<a " in line]

    assert len(lines) == len(page.files)
    assert all(re.match(r'<a href="[^"<>]*"( [a-z-]+="[^"<>]*")*>[^<>]*</a> *', line) for line in lines)


@given(st.text(st.characters(exclude_categories=["Cc", "Cn", "Cs"]), min_size=1))
def test_any_printable_file_name_is_the_text_of_its_anchor_and_the_end_of_its_link(filename: str) -> None:
    anchor = next(document_of(files=(File(filename=filename, version="1.0"),)).iter("a"))

    assert anchor.text == filename
    assert unquote(anchor.get("href", "")) == filename


def test_the_content_type_is_that_of_version_1() -> None:
    assert HTML_CONTENT_TYPE == b"application/vnd.pypi.simple.v1+html"
