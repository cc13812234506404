"""What stands on the pages of the simple API (PEPs 503, 592, 629, 658, 691, 700, 714, 740, 792)."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import html5lib
import pytest
from packaging.metadata import Metadata
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"

MODIFIED = datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC)
YANK_REASON = 'broken: <b>"1 & 2"</b>'


def json_page(server, target):
    reply = server.get(target, headers={"Accept": JSON})
    assert reply.status == 200
    return json.loads(reply.body)


def html_page(server, target):
    """The page as a tree, by a parser that takes nothing but valid HTML5."""
    reply = server.get(target, headers={"Accept": "text/html"})
    assert reply.status == 200
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(reply.body)


def metas(tree):
    return {meta.get("name"): meta.get("content") for meta in tree.findall("head/meta")}


def anchors(tree):
    return {"".join(anchor.itertext()): anchor for anchor in tree.iter("a")}


@pytest.fixture
def page(index):
    return json_page(index, "/simple/demo/")


@pytest.fixture
def entries(page):
    return {entry["filename"]: entry for entry in page["files"]}


@pytest.fixture
def links(index):
    return anchors(html_page(index, "/simple/demo/"))


def test_the_project_page_has_what_version_1_4_demands(page, content):
    assert page["meta"]["api-version"] == "1.4"
    assert page["name"] == "demo"
    assert set(page["versions"]) == {"0.9", "1.0", "1.0+loc.1", "1!2.0"}
    assert len(page["versions"]) == 4
    assert {entry["filename"] for entry in page["files"]} == {file.filename for file in content.demo}


def test_no_entry_holds_a_null(page):
    """uv loses the whole page to one null."""

    def values(node):
        yield node
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from values(child)

    assert None not in list(values(page))


def test_every_file_has_its_size_its_time_and_sha256_only(entries, content):
    for file in content.demo:
        entry = entries[file.filename]
        assert type(entry["size"]) is int
        assert entry["size"] == len(file.content)
        assert entry["hashes"] == {"sha256": file.sha256}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", entry["upload-time"])
        assert datetime.fromisoformat(entry["upload-time"]) == MODIFIED


def test_core_metadata_is_offered_for_wheels_with_its_digest(index, entries, content):
    """And the document is METADATA byte for byte (PEPs 658 and 714)."""
    for file in content.demo:
        entry = entries[file.filename]
        assert "dist-info-metadata" not in entry
        if not file.filename.endswith(".whl"):
            assert entry.get("core-metadata", False) is False
            continue
        reply = index.get(urljoin("/simple/demo/", entry["url"]) + ".metadata")
        assert reply.status == 200
        assert reply.body == file.metadata
        assert Metadata.from_email(reply.body).version is not None
        assert entry["core-metadata"] == {"sha256": hashlib.sha256(reply.body).hexdigest()}


def test_there_is_no_metadata_for_what_offers_none(index, content):
    assert index.get(f"/simple/demo/{content.sdist.filename}.metadata").status == 404


def test_requires_python_is_what_the_metadata_says(entries, links, content):
    assert entries[content.wheel.filename]["requires-python"] == ">=3.8, <9"
    assert links[content.wheel.filename].get("data-requires-python") == ">=3.8, <9"
    assert "requires-python" not in entries[content.sdist.filename]


def test_a_yanked_file_says_why(entries, links, content):
    """The reason is the text of the sidecar, escaped where it must be (PEP 592)."""
    yanked = content.yanked.filename
    assert entries[yanked]["yanked"] == YANK_REASON
    assert links[yanked].get("data-yanked") == YANK_REASON
    for file in content.demo:
        if file.filename != yanked:
            assert entries[file.filename].get("yanked", False) is False
            assert links[file.filename].get("data-yanked") is None


def test_a_signature_is_announced_and_served(index, entries, links, content):
    wheel = content.wheel.filename
    assert entries[wheel]["gpg-sig"] is True
    assert links[wheel].get("data-gpg-sig") == "true"
    assert index.get(f"/simple/demo/{wheel}.asc").body.startswith(b"-----BEGIN PGP SIGNATURE")
    assert index.get(f"/simple/demo/{content.sdist.filename}.asc").status == 404


def test_provenance_is_served_and_announced_only_on_a_secure_origin(
    index, live_server, entries, links, content
):
    """PEP 740 demands a full https URL, which only `--public-url` can promise."""
    wheel = content.wheel.filename
    assert entries[wheel].get("provenance") is None
    assert links[wheel].get("data-provenance") is None
    assert index.get(f"/simple/demo/{wheel}.provenance").body.startswith(b'{"version": 1')

    public = live_server(content.folder, options=["--public-url", "https://packages.example/"])

    announced = {entry["filename"]: entry for entry in json_page(public, "/simple/demo/")["files"]}
    expected = f"https://packages.example/simple/demo/{wheel}.provenance"
    assert announced[wheel]["provenance"] == expected
    assert anchors(html_page(public, "/simple/demo/"))[wheel].get("data-provenance") == expected


def test_urls_are_relative_and_end_in_the_file_name(entries, links, content):
    """They hold for every name of the host and behind every prefix; `+` is written `%2B`."""
    for file in content.demo:
        for url in (entries[file.filename]["url"], links[file.filename].get("href")):
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc) == ("", "")
            assert not parts.path.startswith("/")
            assert parts.path.rpartition("/")[2] == file.filename.replace("+", "%2B").replace("!", "%21") or (
                parts.path.rpartition("/")[2] == file.filename.replace("+", "%2B")
            )


def test_pages_are_the_same_by_every_name_of_the_host(index):
    by_name = index.get("/simple/demo/", headers={"Accept": JSON})
    other = index.exchange(
        b"GET /simple/demo/ HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nConnection: close\r\n\r\n"
        % JSON.encode()
    )[0]

    assert other.body == by_name.body


def test_the_html_page_says_the_same_as_the_json_page(entries, links, content):
    assert list(links) == [*entries]
    for file in content.demo:
        link, entry = links[file.filename], entries[file.filename]
        assert urlsplit(link.get("href")).fragment == f"sha256={file.sha256}"
        assert link.get("data-size") == str(entry["size"])
        assert link.get("data-upload-time") == entry["upload-time"]
        core = entry.get("core-metadata")
        expected = f"sha256={core['sha256']}" if core else None
        assert link.get("data-core-metadata") == expected
        assert link.get("data-dist-info-metadata") == expected


def test_the_html_page_has_its_head_and_no_trap(index):
    """Version 1.4, no relative base, no fragment but sha256 (uv refuses whole pages for less)."""
    tree = html_page(index, "/simple/demo/")

    assert metas(tree)["pypi:repository-version"] == "1.4"
    assert tree.find("head/title") is not None
    assert tree.find("head/base") is None
    assert {urlsplit(anchor.get("href")).fragment.split("=")[0] for anchor in tree.iter("a")} == {"sha256"}


def test_each_anchor_has_a_line_of_its_own_and_no_raw_angle_bracket(index):
    """Simple tools scan line by line, for `<a `, up to the first `>`."""
    text = index.get("/simple/demo/", headers={"Accept": "text/html"}).text

    assert all(line.count("<a ") <= 1 for line in text.splitlines())
    assert re.findall(r"<a ([^>]*)>([^<]*)</a>", text) != []
    assert len(re.findall(r"<a [^>]*>[^<]+</a>", text)) == text.lower().count("<a ")


def test_the_project_list_names_each_project_once(index):
    expected = ["archived", "claimed", "de-mo", "demo", "deprecated"]
    listed = json_page(index, "/simple/")
    tree = html_page(index, "/simple/")

    assert listed["meta"]["api-version"] == "1.4"
    assert [canonicalize_name(project["name"]) for project in listed["projects"]] == expected
    assert metas(tree)["pypi:repository-version"] == "1.4"
    assert list(anchors(tree)) == expected
    assert [urljoin("/simple/", anchor.get("href")) for anchor in tree.iter("a")] == [
        f"/simple/{name}/" for name in expected
    ]


@pytest.mark.parametrize("status", ["archived", "deprecated"])
def test_a_status_is_on_both_pages(index, status):
    """With its reason, in the head of the HTML page (PEP 792)."""
    page = json_page(index, f"/simple/{status}/")
    head = metas(html_page(index, f"/simple/{status}/"))

    assert page["project-status"] == {"status": status, "reason": 'old & "odd"'}
    assert len(page["files"]) == 1
    assert head["pypi:project-status"] == status
    assert head["pypi:project-status-reason"] == 'old & "odd"'


def test_a_quarantined_project_offers_nothing(index):
    """200 and no files (PEP 792), and what was known cannot be fetched either."""
    page = json_page(index, "/simple/quarantined/")

    assert page["files"] == []
    assert page["versions"] == []
    assert page["project-status"]["status"] == "quarantined"
    assert index.get("/simple/quarantined/quarantined-1.0-py3-none-any.whl").status == 404


def test_a_claimed_name_is_an_empty_project_and_a_stray_folder_is_none(index):
    """An empty page stops an installer at this index, so it is given only on purpose."""
    assert json_page(index, "/simple/claimed/")["files"] == []
    assert index.get("/simple/build/", headers={"Accept": JSON}).status == 404


def test_a_new_index_is_an_empty_list(live_server, tmp_path):
    server = live_server(tmp_path)

    assert json_page(server, "/simple/")["projects"] == []
    assert anchors(html_page(server, "/simple/")) == {}


def test_the_root_is_the_list_for_installers_and_a_page_for_people(index):
    assert json_page(index, "/")["projects"] == json_page(index, "/simple/")["projects"]
    assert index.get("/", headers={"Accept": "text/html"}).media_type == "text/html"


def test_the_plain_layout_gives_the_same_page(index):
    """`--extra-index-url http://host:8080/` works too."""
    assert json_page(index, "/demo/") == json_page(index, "/simple/demo/")


@pytest.mark.parametrize(
    "target",
    ["/", "/simple/", "/simple/demo/", "/simple/claimed/", "/packages/", "/-/problems"],
)
def test_every_page_is_valid_html5(index, target):
    """Read by a strict parser, with the page's own encoding."""
    reply = index.get(target, headers={"Accept": "text/html"})

    assert reply.status == 200
    assert (reply.header("Content-Type") or "").lower().replace(" ", "") == "text/html;charset=utf-8"
    html5lib.HTMLParser(strict=True).parse(reply.text)


def test_error_pages_are_valid_html5(index):
    reply = index.get("/simple/nope/", headers={"Accept": "text/html"})

    assert reply.status == 404
    html5lib.HTMLParser(strict=True).parse(reply.text)


def test_the_flat_page_lists_every_file_for_find_links(index, content):
    """And `/packages/<filename>` leads to the file, as lock files of another server expect."""
    links = anchors(html_page(index, "/packages/"))
    assert {file.filename for file in (*content.demo, content.spelled)} <= set(links)

    reply = index.get(f"/packages/{content.wheel.filename}")

    assert reply.status == 302
    target = urljoin(f"{index.origin}/packages/{content.wheel.filename}", reply.header("Location"))
    assert index.get(urlsplit(target).path).body == content.wheel.content
