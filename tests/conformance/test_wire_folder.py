"""A folder that changes, seen from outside: the very next answer is right, and bad files harm nobody."""

from __future__ import annotations

import json
import os
import socket
import time
from urllib.parse import urljoin, urlsplit

import html5lib
import pytest

from twisted_index.testing import make_sdist, make_wheel

pytestmark = pytest.mark.places

JSON = "application/vnd.pypi.simple.v1+json"


def page(server, project="demo", **headers):
    return server.get(f"/simple/{project}/", headers={"Accept": JSON} | headers)


def filenames(server, project="demo"):
    reply = page(server, project)
    if reply.status == 404:
        return None
    assert reply.status == 200
    return {entry["filename"] for entry in json.loads(reply.body)["files"]}


def listed(server):
    reply = server.get("/simple/", headers={"Accept": JSON})
    return {project["name"] for project in json.loads(reply.body)["projects"]}


def problems(server):
    reply = server.get("/-/problems", headers={"Accept": "application/json"})
    assert reply.status == 200
    assert reply.media_type == "application/json"
    return json.loads(reply.body)["problems"]


@pytest.fixture
def folder(emptied_folder):
    return emptied_folder


@pytest.fixture(params=["project folders", "flat"])
def home(request, folder):
    """Where the files of `demo` lie."""
    return folder / "demo" if request.param == "project folders" else folder


def test_what_is_dropped_removed_or_renamed_shows_in_the_very_next_answer(module_server, folder, home):
    """Also for a client that asks whether anything has changed."""
    server = module_server()
    assert filenames(server) is None
    expected = set()
    for number in range(20):
        file = make_wheel("demo", f"1.{number}")
        etag = page(server).header("ETag")
        file.write_to(home)
        expected.add(file.filename)
        reply = page(server, **({"If-None-Match": etag} if etag else {}))
        assert reply.status == 200
        assert filenames(server) == expected
        assert server.get(f"/simple/demo/{file.filename}").body == file.content
        assert listed(server) == {"demo"}
        if number % 3 == 2:
            (home / file.filename).unlink()
            expected.remove(file.filename)
            assert filenames(server) == expected
            assert server.get(f"/simple/demo/{file.filename}").status == 404
        if number % 5 == 4:
            renamed = file.filename.replace("-py3-", "-py2.py3-")
            if file.filename in expected:
                (home / file.filename).rename(home / renamed)
                expected.remove(file.filename)
                expected.add(renamed)
                assert filenames(server) == expected


def test_yanking_is_a_file_made_with_echo(module_server, folder, home):
    """And undone by removing it."""
    wheel = make_wheel("demo", "1.0")
    wheel.write_to(home)
    server = module_server()

    def yanked():
        (entry,) = json.loads(page(server).body)["files"]
        return entry.get("yanked", False)

    assert yanked() is False
    note = home / f"{wheel.filename}.yanked"
    note.touch()
    assert yanked() is True
    note.unlink()
    note.write_text("it\tbreaks\x07\nthings\n")
    assert isinstance(yanked(), str)
    assert "breaks" in yanked()
    assert "\x07" not in yanked()
    note.unlink()
    assert yanked() is False


def test_a_file_that_is_rewritten_in_place_is_served_as_it_is_now(live_server, folder):
    """With `--rescan 0` its page is right at once; the body and its tag always are."""
    first = make_wheel("demo", "1.0", files={"demo.py": "1"})
    second = make_wheel("demo", "1.0", files={"demo.py": "22"})
    home = folder / "demo"
    first.write_to(home)
    server = live_server(folder, options=["--rescan", "0"])
    assert json.loads(page(server).body)["files"][0]["hashes"]["sha256"] == first.sha256

    second.write_to(home)

    assert json.loads(page(server).body)["files"][0]["hashes"]["sha256"] == second.sha256
    reply = server.get(f"/simple/demo/{second.filename}")
    assert reply.body == second.content
    assert first.sha256 not in (reply.header("ETag") or "")


def test_a_project_in_two_spellings_and_flat_is_one_project(module_server, folder):
    files = [make_wheel("de-mo", "1"), make_wheel("de-mo", "2"), make_wheel("de-mo", "3")]
    for file, where in zip(files, (folder / "De_Mo", folder / "de.mo", folder), strict=True):
        file.write_to(where)
    server = module_server()

    assert filenames(server, "de-mo") == {file.filename for file in files}
    assert listed(server) == {"de-mo"}


def test_of_several_folders_the_first_that_has_a_file_wins(live_server, tmp_path):
    one, two = make_wheel("demo", "1", files={"a.py": ""}), make_wheel("demo", "1", files={"b.py": ""})
    other = make_wheel("demo", "2")
    one.write_to(tmp_path / "a" / "demo")
    two.write_to(tmp_path / "b" / "demo")
    other.write_to(tmp_path / "b")
    server = live_server(tmp_path / "a", tmp_path / "b")

    assert filenames(server) == {one.filename, other.filename}
    assert server.get(f"/simple/demo/{one.filename}").body == one.content


def test_what_lies_flat_or_in_folders_is_one_index(module_server, folder):
    make_sdist("flat", "1.0").write_to(folder)
    make_wheel("nested", "1.0").write_to(folder / "Nested")
    server = module_server()

    assert listed(server) == {"flat", "nested"}


@pytest.mark.parametrize("extension", [".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar"])
def test_every_kind_of_sdist_is_listed_and_served(module_server, folder, extension):
    sdist = make_sdist("demo", "1.0", extension=extension)
    sdist.write_to(folder / "demo")
    server = module_server()

    # Nothing in a plain tar says that its bytes are right: it is listed once it has lain still for 2 s.
    deadline = time.monotonic() + (10 if extension == ".tar" else 0)
    while (found := filenames(server)) == set() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == {sdist.filename}
    reply = server.get(f"/simple/demo/{sdist.filename}", headers={"Accept-Encoding": "gzip, bzip2, deflate"})
    assert reply.body == sdist.content
    assert reply.header("Content-Encoding") is None


def bad_files():
    good = make_wheel("demo", "1.0")
    sdist = make_sdist("demo", "3.0")
    return {
        "demo-2.0-py3-none-any.whl": good.content[: len(good.content) // 2],
        "demo-2.1-py3-none-any.whl": b"",
        "demo-2.2-py3-none-any.whl": b"this is no zip file",
        "demo-2.3-py3-none-any.whl": good.content,  # METADATA says 1.0
        "demo-2.4-py3-none-any.whl": make_wheel("other", "2.4").content,
        "demo-2.5-py3-none-any.whl": make_wheel(
            "demo", "2.5", metadata="Metadata-Version: 2.1\nName: demo\n"
        ).content,
        "demo-3.0.tar.gz": sdist.content[:-20],
        "demo-3.1.tar.gz": b"\x1f\x8bnonsense",
        "demo-3.2.zip": b"PK\x05\x06",
        "demo-3.3.tar": make_sdist("demo", "3.3", extension=".tar").content[:2048],
    }


def test_damaged_files_are_left_out_and_reported(live_server, folder, all_operate):
    """Each has a row that says why and what to do; all the rest is served."""
    home = folder / "demo"
    good = make_wheel("demo", "1.0")
    good.write_to(home)
    for name, content in bad_files().items():
        (home / name).write_bytes(content)
    server = live_server(folder, options=all_operate)

    assert filenames(server) == {good.filename}
    for name in bad_files():
        assert server.get(f"/simple/demo/{name}").status == 404, name
        assert server.get(f"/simple/demo/{name}.metadata").status == 404, name
    rows = {row["path"]: row for row in problems(server)}
    assert {f"demo/{name}" for name in bad_files()} <= set(rows)
    for row in rows.values():
        assert row["reason"]
        assert row["advice"]
        assert str(folder) not in json.dumps(row)


HOSTILE = [
    b'demo-4.0"onmouseover="alert(1).tar.gz',
    b"demo-4.1<script>alert(1).tar.gz",
    b"demo-4.2'&lt;.tar.gz",
    b"demo-4.3\nX-Injected: yes.tar.gz",
    b"demo-4.4\r\n.tar.gz",
    b"demo-4.5-\xff\xfe.tar.gz",
    "demo-4.6-\N{SNAKE}.tar.gz".encode(),
    b"demo-4.7-\x1b[31m.tar.gz",
    b"demo-4.8 (1).tar.gz",
    b"demo-4.9.tar.gz?x=#y",
    b"demo-" + b"5" * 243 + b".tar.gz",
    b"demo-" + b"6" * 233 + b"-py3-none-any.whl",
    b"demo-\\..\\7.0.tar.gz",
    b"demo-%2e%2e%2f8.0.tar.gz",
    b"demo-notaversion.tar.gz",
    b"demo-9.0-py3-none-any.WHL",
    b"demo-9.1-py3-none.whl",
    b"demo_-9.2-py3-none-any.whl",
    b"demo-9.3.exe",
    b"demo-9.4.egg",
    b"-.tar.gz",
    b"demo-.tar.gz",
    b".tar.gz",
]


@pytest.mark.folder_only("keys are text, and what is odd about them is tried on their own")
@pytest.mark.parametrize("valid", [False, True], ids=["nonsense inside", "a distribution inside"])
def test_hostile_file_names_leave_the_pages_valid(live_server, folder, valid):
    """Quotes, tags, line ends, bytes that are no text, 255 bytes: rows in the report, not in a page."""
    home = folder / "demo"
    good = make_wheel("demo", "1.0")
    good.write_to(home)
    for name in HOSTILE:
        content = make_sdist("demo", "4.0").content if valid else b"nonsense"
        (home / "x").write_bytes(content)
        os.rename(os.fsencode(home / "x"), os.fsencode(home) + b"/" + name)
    server = live_server(folder)

    for target in ("/simple/demo/", "/simple/", "/packages/", "/-/problems", "/"):
        reply = server.get(target, headers={"Accept": "text/html"})
        assert reply.status == 200
        html5lib.HTMLParser(strict=True).parse(reply.text)
        assert b"<script>alert" not in reply.body
        assert reply.header("X-Injected") is None
    assert good.filename in filenames(server)
    for entry in json.loads(page(server).body)["files"]:
        path = urlsplit(urljoin("/simple/demo/", entry["url"])).path
        assert server.get(path).status == 200
    rows = problems(server)
    assert len([row for row in rows if row["path"].startswith("demo/")]) >= len(HOSTILE) - 4
    assert all(row["path"].isprintable() for row in rows)


def test_files_in_the_making_are_never_listed(live_server, folder):
    """Names by which programs say that a file is not finished, and dotfiles."""
    home = folder / "demo"
    good = make_wheel("demo", "1.0")
    good.write_to(home)
    for name in (
        f".{good.filename}",
        f"{good.filename}.part",
        f"{good.filename}.tmp",
        f".{good.filename}.a8Jx2q",
        f"{good.filename}~",
        f"{good.filename}.crdownload",
    ):
        (home / name).write_bytes(good.content)

    assert filenames(live_server(folder)) == {good.filename}


@pytest.mark.folder_only("a bucket has only files")
def test_what_is_no_file_is_never_listed(live_server, folder):
    """Folders, FIFOs and sockets."""
    home = folder / "demo"
    good = make_wheel("demo", "1.0")
    good.write_to(home)
    (home / "demo-5.0-py3-none-any.whl").mkdir()
    os.mkfifo(home / "demo-5.1-py3-none-any.whl")
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.open(home, os.O_RDONLY)  # the address of a socket is short
        try:
            unix.bind(f"/proc/self/fd/{here}/demo-5.2-py3-none-any.whl")
        finally:
            os.close(here)
        server = live_server(folder)

        assert filenames(server) == {good.filename}
        assert server.get("/simple/demo/demo-5.1-py3-none-any.whl").status == 404


@pytest.mark.folder_only("objects come whole")
def test_a_wheel_that_is_copied_slowly_is_never_listed_before_it_is_whole(live_server, folder):
    wheel = make_wheel("demo", "1.0", files={f"demo/{n}.bin": os.urandom(50_000) for n in range(20)})
    home = folder / "demo"
    home.mkdir()
    server = live_server(folder)
    with (home / wheel.filename).open("wb") as writer:
        for start in range(0, len(wheel.content), 50_000):
            writer.write(wheel.content[start : start + 50_000])
            writer.flush()
            assert filenames(server) in (set(), None) or start + 50_000 >= len(wheel.content)
            reply = server.get(f"/simple/demo/{wheel.filename}")
            assert reply.status == 404 or reply.body == wheel.content

    (entry,) = json.loads(page(server).body)["files"]
    assert entry["hashes"]["sha256"] == wheel.sha256


@pytest.mark.folder_only("stores that do not answer are tried on their own")
def test_a_folder_that_vanishes_is_never_an_empty_index(live_server, folder):
    """A root that cannot be read is 503 with Retry-After: a 404 would send installers elsewhere."""
    make_wheel("demo", "1.0").write_to(folder / "demo")
    server = live_server(folder)
    assert page(server).status == 200
    away = folder.with_name("away")

    folder.rename(away)
    for target in ("/simple/demo/", "/simple/", "/simple/demo/demo-1.0-py3-none-any.whl", "/simple/nope/"):
        reply = server.get(target, headers={"Accept": f"{JSON}, */*;q=0.1"})
        assert reply.status == 503, target
        assert int(reply.header("Retry-After")) > 0
        assert str(folder) not in reply.text
    away.rename(folder)

    assert page(server).status == 200


def test_a_server_that_was_killed_comes_back_right(live_server, folder, tmp_path):
    """The state folder is a cache: what was killed in the middle of it costs nothing but work."""
    files = [make_wheel("demo", f"1.{number}") for number in range(50)]
    for file in files:
        file.write_to(folder)
    state = tmp_path / "kept"
    for number in range(3):
        server = live_server(folder, state=state)
        assert filenames(server) == {file.filename for file in files}
        server.stop(9)
        file = make_wheel("demo", f"2.{number}")
        file.write_to(folder)
        files.append(file)
    server = live_server(folder, state=state)

    assert filenames(server) == {file.filename for file in files}
    for path in state.rglob("*"):
        if path.is_file():
            server.stop(9)
            path.write_bytes(b"damaged" * 1000)
    assert filenames(live_server(folder, state=state)) == {file.filename for file in files}


@pytest.mark.folder_only("objects have no rights of their own")
def test_one_folder_that_cannot_be_read_takes_down_its_own_page_alone(module_server, folder):
    """A link in a circle stands for all of them, since it stops every user, root too."""
    wheel = make_wheel("demo", "1.0")
    wheel.write_to(folder / "demo")
    (folder / "backup").symlink_to("backup")
    server = module_server()

    for target in ("/", "/simple/", "/packages/", "/-/health", "/-/metrics", "/simple/demo/"):
        assert server.get(target).status == 200, target
    assert listed(server) == {"demo"}
    reply = page(server, "backup")
    assert reply.status == 503
    assert int(reply.header("Retry-After")) > 0
    assert "The folder backup/ cannot be read right now" in reply.text
    assert [problem["path"] for problem in problems(server)] == ["backup/"]

    (folder / "backup").unlink()
    make_wheel("backup", "1.0").write_to(folder / "backup")
    assert page(server, "backup").status == 200
    assert listed(server) == {"backup", "demo"}
    assert problems(server) == []


def test_one_of_several_folders_that_goes_away_takes_down_its_own_names_alone(live_server, tmp_path):
    make_wheel("ours", "1.0").write_to(tmp_path / "a")
    make_wheel("theirs", "1.0").write_to(tmp_path / "b")
    server = live_server(tmp_path / "a", tmp_path / "b")
    assert listed(server) == {"ours", "theirs"}

    (tmp_path / "b").rename(tmp_path / "away")
    assert page(server, "ours").status == 200
    assert server.get("/packages/").text.count("<a ") == 1
    assert page(server, "theirs").status == 503
    assert page(server, "unknown").status == 503
    assert listed(server) == {"ours"}
    assert (
        "One of the package folders cannot be read" in server.get("/", headers={"Accept": "text/html"}).text
    )
    assert server.get("/-/health").status == 503
    assert [problem["path"] for problem in problems(server)] == ["b/"]

    (tmp_path / "away").rename(tmp_path / "b")
    assert server.get("/-/health").status == 200
    assert page(server, "unknown").status == 404
    assert listed(server) == {"ours", "theirs"}
