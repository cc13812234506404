"""What an export holds, what it reads, and what it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from twisted_index.errors import ConfigurationError, Conflict
from twisted_index.export import project_reader
from twisted_index.export.files_url import FilesUrl
from twisted_index.export.manifest import parse_manifest
from twisted_index.testing import make_sdist, make_wheel

from .conftest import Site

WHEEL = make_wheel("demo", "1.0", requires_python=">=3.9")
WHEEL_2 = make_wheel("demo", "2.0")
SDIST = make_sdist("demo", "2.0")
FILES = f"simple/demo/{WHEEL.filename}"


@pytest.fixture(autouse=True)
def _demo(site: Site) -> None:
    (site.root / "demo").mkdir()
    WHEEL.write_to(site.root / "demo")


def page(site: Site, name: str = "simple/demo/index.v1.json") -> dict:
    return json.loads((site.target / name).read_bytes())


def test_files_have_the_time_of_their_upload(site: Site):
    source = site.root / "demo" / WHEEL.filename
    os.utime(source, (1_600_000_000, 1_600_000_000))
    site.export()
    assert (site.target / FILES).stat().st_mtime == 1_600_000_000


def test_a_project_that_did_not_change_is_not_opened(site: Site):
    make_wheel("other", "1.0").write_to(site.root)
    site.export()
    # Its pages are as remembered, whatever has become of them.
    (site.target / "simple/demo/index.html").write_bytes(b"")
    make_wheel("other", "2.0").write_to(site.root)
    result = site.export()
    assert (result.written, result.unchanged) == (["other"], 1)
    assert (site.target / "simple/demo/index.html").read_bytes() == b""


def test_a_file_that_is_rewritten_in_place_is_noticed(site: Site):
    site.export()
    changed = make_wheel("demo", "1.0", files={"demo/more": b"x"})
    (site.root / "demo" / WHEEL.filename).write_bytes(changed.content)
    assert site.export().written == ["demo"]
    assert page(site)["files"][0]["hashes"]["sha256"] == changed.sha256
    assert (site.target / FILES).read_bytes() == changed.content


def test_without_its_memory_an_export_mends_what_was_damaged(site: Site):
    """What is there is compared, when nothing is remembered."""
    site.export()
    (site.target / "simple/demo/index.html").unlink()
    assert site.export(remember=False).written == ["demo"]
    assert (site.target / "simple/demo/index.html").is_file()


def _fifo(path: Path, _data: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def _line(line: bytes) -> Callable[[Path, bytes], None]:
    return lambda path, data: path.write_bytes(data[: data.index(b"demo\0")] + line + b"\n") and None


@pytest.mark.parametrize(
    "damage",
    [
        _fifo,
        lambda path, data: path.write_bytes(data[:-1]),
        lambda path, _data: path.write_bytes(b""),
        lambda path, _data: os.truncate(path, 1 << 30),
        _line(b"demo"),
        _line(b"demo\0+\0x"),
        _line(b"d\xff\0+\0x\0y"),
        _line(b"demo\0+\0x\0y\0folder"),
    ],
)
def test_a_damaged_memory_remembers_nothing(site: Site, damage: Callable[[Path, bytes], None]):
    site.export()
    assert site.memory is not None
    damage(site.memory, site.memory.read_bytes())
    (site.target / "simple/demo/index.html").unlink()
    assert site.export().written == ["demo"]
    assert site.memory.is_file()


def test_a_memory_is_not_written_through_a_link(site: Site):
    assert site.memory is not None
    victim = site.root / "victim"
    victim.write_text("mine")
    for place in (site.memory, site.memory.with_name(f"{site.memory.name}.tmp")):
        place.symlink_to(victim)
    site.export()
    assert victim.read_text() == "mine"


def test_a_check_writes_nothing_and_tells_whether_there_is_anything_to_write(site: Site):
    assert site.export(dry=True).is_changed
    assert not site.target.exists()
    site.export()
    assert not site.export(dry=True).is_changed
    before = site.files()
    make_wheel("demo", "2.0").write_to(site.root / "demo")
    assert site.export(dry=True).written == ["demo"]
    assert site.files() == before


@pytest.mark.parametrize("path", ["simple/index.html", FILES, "simple/demo"])
def test_a_file_of_another_hand_where_one_is_needed_is_refused(site: Site, path: str):
    place = site.target / path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    with pytest.raises(Conflict, match=r"move it away, or choose another folder"):
        site.export()
    assert place.read_bytes() == b"mine"


def test_a_link_in_place_of_a_folder_is_refused(site: Site):
    site.target.mkdir()
    (site.target / "simple").symlink_to(site.aside)
    with pytest.raises(Conflict, match="is not a folder"):
        site.export()
    assert list(site.aside.iterdir()) == []


@pytest.mark.parametrize(
    "data", [b"notes\n", *(b"0" * 64 + b"  %s\n" % path for path in (b"../x", b"/etc/x", b"a/../x", b"a/.."))]
)
def test_a_manifest_that_no_export_wrote_is_refused(data: bytes):
    with pytest.raises(Conflict, match="is not the manifest of an export"):
        parse_manifest(data, ".export")


def test_a_line_that_was_cut_off_counts_for_nothing():
    whole = b"0" * 64 + b"  simple/index.html\n"
    assert parse_manifest(whole + whole[:40], "") == {"simple/index.html": {"0" * 64}}


def test_an_export_after_a_line_that_was_cut_off_goes_on(site: Site):
    site.export()
    with open(site.target / ".export", "ab") as file:
        file.write(b"0" * 64 + b"  simple/de")
    make_wheel("demo", "2.0").write_to(site.root / "demo")
    assert site.export().written == ["demo"]
    assert b"0" * 64 not in (site.target / ".export").read_bytes()


def test_two_exports_into_one_folder_are_not_written_at_once(site: Site):
    fcntl = pytest.importorskip("fcntl")
    site.target.mkdir()
    held = os.open(site.target, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(Conflict, match="Another export"):
            site.export()
    finally:
        os.close(held)


def test_what_was_put_in_the_place_of_an_exported_file_is_not_removed(site: Site):
    site.export()
    (site.target / FILES).write_bytes(b"mine")
    (site.root / "demo" / WHEEL.filename).unlink()
    (site.root / "demo").rmdir()
    result = site.export()
    assert result.notes == [f"{FILES} is not as an export wrote it, and stays as it is."]
    assert (site.target / FILES).read_bytes() == b"mine"


def test_a_file_for_web_servers_that_was_changed_by_hand_stays(site: Site):
    site.export()
    (site.target / "nginx.conf").write_bytes(b"mine")
    WHEEL_2.write_to(site.root / "demo")
    result = site.export()
    assert result.notes == ["nginx.conf is not as an export wrote it, and stays as it is."]
    assert result.written == ["demo"]
    assert (site.target / "nginx.conf").read_bytes() == b"mine"


def test_links_lead_to_the_files_of_the_folder(site: Site):
    source = site.root / "demo" / WHEEL.filename
    before = source.stat().st_ctime_ns
    site.export(links=True)
    assert os.readlink(site.target / FILES) == str(source)
    # A hard link would have changed it, and every server would read the file again.
    assert source.stat().st_ctime_ns == before
    assert not site.export(links=True).is_changed


def test_json_pages_take_the_place_of_html(site: Site):
    site.export(json_only=True)
    assert page(site, "simple/demo/index.html")["name"] == "demo"
    assert not (site.target / "simple/demo/index.v1.json").exists()


def test_pages_of_files_that_are_elsewhere_promise_nothing_that_is_not_there(site: Site):
    sdist = make_sdist("demo", "1.0")
    sdist.write_to(site.root / "demo")
    for suffix in (".asc", ".provenance"):
        (site.root / "demo" / f"{WHEEL.filename}{suffix}").write_bytes(b"{}")
    template = FilesUrl.parse("https://host.example/v{version}/{filename}")
    site.export(files_url=template, public_url="https://site.example/")
    files = {file["filename"]: file for file in page(site)["files"]}
    wheel = files[WHEEL.filename]
    assert wheel["url"] == f"https://host.example/v1.0/{WHEEL.filename}"
    assert wheel.keys() >= {"size", "upload-time", "requires-python", "hashes"}
    assert not wheel.keys() & {"core-metadata", "gpg-sig"}
    assert wheel["provenance"] == f"https://site.example/{FILES}.provenance"
    assert sorted(path for path in site.files() if WHEEL.filename in path) == [f"{FILES}.provenance"]
    html = (site.target / "simple/demo/index.html").read_text()
    assert f'href="https://host.example/v1.0/{WHEEL.filename}#sha256={WHEEL.sha256}"' in html
    assert "data-core-metadata" not in html
    assert page(site, "pypi/demo/json")["urls"][0]["url"].startswith("https://host.example/v1.0/")


def test_files_are_removed_when_they_are_elsewhere_from_now_on(site: Site):
    site.export()
    result = site.export(files_url=FilesUrl.parse("https://host.example/"))
    assert result.written == ["demo"]
    assert not (site.target / FILES).exists()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://host.example/files", "https://host.example/files/demo-1.0%2Babc-py3-none-any.whl"),
        (
            "https://h/{project}/v{version}/{filename}",
            "https://h/demo/v1.0%2Babc/demo-1.0%2Babc-py3-none-any.whl",
        ),
        ("https://h/{filename}?download=1", "https://h/demo-1.0%2Babc-py3-none-any.whl?download=1"),
    ],
)
def test_a_template_names_the_url_of_a_file(site: Site, text: str, url: str):
    made = make_wheel("demo", "1.0+abc")
    (site.root / "demo" / WHEEL.filename).unlink()
    made.write_to(site.root / "demo")
    site.export(files_url=FilesUrl.parse(text))
    assert page(site)["files"][0]["url"] == url


@pytest.mark.parametrize(
    "text", ["host/{filename}", "https://h/{name}", "https://h/{filename", "https://me:pw@h/", "ftp://h/"]
)
def test_a_template_that_makes_no_public_url_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="--files-url"):
        FilesUrl.parse(text)


def test_a_project_that_may_not_be_read_is_not_exported(site: Site):
    make_wheel("secret", "1.0").write_to(site.root)
    site.export(may_read=lambda project: project != "secret", remember=False)
    assert not any("secret" in path for path in site.files())
    assert b"secret" not in (site.target / "simple/index.v1.json").read_bytes()


def test_a_project_whose_folder_is_on_a_disk_that_is_away_stays_as_it_was(site: Site):
    site.export()
    before = site.files()
    (site.root / "demo").rename(site.aside / "demo")
    (site.root / "demo").symlink_to(site.aside / "nothing")
    result = site.export()
    assert list(result.failures) == ["demo"]
    assert site.files() == before
    # Once it is back, it is read again, though the root shows no change.
    (site.aside / "demo").rename(site.aside / "nothing")
    assert site.export().failures == {}


# -- Files that are not to be seen yet


def test_a_file_that_a_list_hides_is_not_exported_until_the_list_is_gone(site: Site):
    WHEEL_2.write_to(site.root / "demo")
    hidden = hide(site.root, WHEEL_2.filename)
    site.export()
    assert f"simple/demo/{WHEEL_2.filename}" not in site.files()
    assert WHEEL_2.filename.encode() not in site.files()["simple/demo/index.html"]
    hidden.unlink()
    assert site.export().written == ["demo"]
    assert f"simple/demo/{WHEEL_2.filename}" in site.files()


@pytest.mark.parametrize("is_whole", [True, False])
def test_of_files_that_come_hidden_during_an_export_none_is_exported(
    site: Site, monkeypatch: pytest.MonkeyPatch, is_whole: bool
):
    """Not even if the list is gone again, and only the first of them was seen."""
    (site.root / ".staged").mkdir()
    site.export()
    make_wheel("demo", "1.5").write_to(site.root / "demo")
    scan = project_reader.scan_project

    def promote(*args: Any) -> Any:
        monkeypatch.setattr(project_reader, "scan_project", scan)
        hidden = hide(site.root, WHEEL_2.filename, SDIST.filename)
        WHEEL_2.write_to(site.root / "demo")
        scanned = scan(*args)
        if is_whole:
            SDIST.write_to(site.root / "demo")
            hidden.unlink()
        return scanned

    monkeypatch.setattr(project_reader, "scan_project", promote)
    assert list(site.export().failures) == ["demo"]
    assert FILES in site.files()
    assert not any(path.endswith((WHEEL_2.filename, SDIST.filename)) for path in site.files())


def hide(root: Path, *names: str) -> Path:
    path = root / ".staged" / "one.list"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(names))
    return path
