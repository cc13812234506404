"""The index with a port: real clients, and nothing left behind."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import twisted_index
from twisted_index.config.settings import AccessSettings, Settings, UploadSettings, UpstreamSettings
from twisted_index.testing import HeaderFields, RecordedRequest, RunningIndex, make_wheel

ROOT = Path(twisted_index.__file__).parent.parent


def fetch(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as response:
        return response.read()


def status_of(url: str) -> int:
    try:
        fetch(url)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    return 200


class TestServing:
    def test_it_is_at_the_url_that_installers_take(self, simple_index):
        assert simple_index.url == f"{simple_index.base_url}simple/"
        assert b"demo" not in fetch(simple_index.url)
        simple_index.add_wheel("demo", "1.0")
        assert b"demo" in fetch(simple_index.url)

    def test_a_wheel_has_all_that_make_wheel_can_give_it(self, simple_index):
        wheel = simple_index.add_wheel("demo", "1.0", requires=["other>=2"], requires_python=">=3.9")
        assert wheel == make_wheel("demo", "1.0", requires=["other>=2"], requires_python=">=3.9")
        assert fetch(f"{simple_index.url}demo/{wheel.filename}") == wheel.content
        assert b"Requires-Dist: other>=2" in fetch(f"{simple_index.url}demo/{wheel.filename}.metadata")

    def test_an_sdist_is_served_too(self, simple_index):
        sdist = simple_index.add_sdist("demo", "1.0")
        assert fetch(f"{simple_index.url}demo/{sdist.filename}") == sdist.content

    def test_a_removed_file_is_not_in_the_next_answer(self, simple_index):
        wheel = simple_index.add_wheel("demo", "1.0")
        assert status_of(f"{simple_index.url}demo/") == 200
        simple_index.yank(wheel.filename)
        simple_index.remove(wheel.filename)
        assert status_of(f"{simple_index.url}demo/") == 404
        assert list((simple_index.folder / "demo").iterdir()) == []

    def test_a_file_is_replaced_by_one_of_the_same_name(self, simple_index):
        simple_index.add_wheel("demo", "1.0")
        assert fetch(f"{simple_index.url}demo/")
        second = simple_index.add_wheel("demo", "1.0", requires=["other"])
        assert second.sha256.encode() in fetch(f"{simple_index.url}demo/")

    def test_a_yanked_file_says_why(self, simple_index):
        simple_index.yank(simple_index.add_wheel("demo", "1.0").filename, "eats data")
        assert b'data-yanked="eats data"' in fetch(f"{simple_index.url}demo/")

    def test_a_file_that_is_not_here_cannot_be_removed_or_yanked(self, simple_index):
        for act in (simple_index.remove, simple_index.yank):
            with pytest.raises(FileNotFoundError, match=r"no demo-1\.0\.tar\.gz"):
                act("demo-1.0.tar.gz")

    def test_all_that_can_be_set_for_a_server_can_be_set_for_it(self, tmp_path):
        rights = tmp_path / "rights.toml"
        rights.write_text('[[rule]]\nprojects = "acme-*"\nallow = "read"\nto = "users"\n')
        with RunningIndex() as other:
            other.add_wheel("demo", "1.0")
            settings = Settings(
                uploads=UploadSettings(upload=True),
                access=AccessSettings(auth=("memory:alice:secret",), rights=str(rights)),
                upstreams=UpstreamSettings(urls=(other.url,), mode="proxy"),
            )
            with RunningIndex(settings) as index:
                index.add_wheel("acme-core", "1.0")
                assert status_of(f"{index.url}demo/") == 200
                assert status_of(f"{index.url}acme-core/") == 401
                assert fetch(f"{index.url}acme-core/", Authorization="Basic YWxpY2U6c2VjcmV0")

    def test_what_is_done_to_its_folder_by_hand_counts(self, simple_index):
        path = make_wheel("demo", "1.0").write_to(simple_index.folder)
        assert status_of(f"{simple_index.url}demo/") == 200
        simple_index.remove(path.name)
        assert status_of(f"{simple_index.url}demo/") == 404

    def test_it_can_be_set_up_as_any_index(self):
        with RunningIndex(Settings(cors=True)) as index, urllib.request.urlopen(index.url) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"

    def test_several_run_beside_one_another(self, simple_index):
        with RunningIndex() as other:
            other.add_wheel("demo", "1.0")
            assert (status_of(f"{other.url}demo/"), status_of(f"{simple_index.url}demo/")) == (200, 404)


class TestRequests:
    def test_each_request_is_seen_with_its_answer(self, simple_index):
        fetch(f"{simple_index.url}?format=text/html", X_Test="1")
        assert status_of(f"{simple_index.url}nothing/") == 404
        first, second = simple_index.requests
        assert (first.method, first.path, first.query, first.status) == (
            "GET",
            "/simple/",
            "format=text/html",
            200,
        )
        assert first.headers["x_test"] == "1"
        assert (second.path, second.status) == ("/simple/nothing/", 404)

    def test_a_request_is_seen_as_soon_as_its_answer_is_there(self, simple_index):
        large = simple_index.add_wheel(
            "large", "1.0", files={"large/data": os.urandom(300_000)}, compress=False
        )
        for url in [simple_index.url, f"{simple_index.url}large/{large.filename}"] * 10:
            fetch(url)
            assert len(simple_index.requests) == 1
            simple_index.clear_requests()

    def test_a_path_is_told_as_it_came(self, simple_index):
        assert status_of(f"{simple_index.url}d%65mo/") == 404
        assert [seen.path for seen in simple_index.requests] == ["/simple/d%65mo/"]

    def test_what_was_seen_cannot_be_changed(self, simple_index):
        fetch(simple_index.url)
        (seen,) = simple_index.requests
        simple_index.requests.clear()
        assert simple_index.requests == [seen]
        with pytest.raises(AttributeError):
            seen.status = 500

    def test_a_seen_request_is_a_plain_value(self):
        seen = RecordedRequest(method="GET", path="/", status=200, headers=HeaderFields((("Host", "a"),)))
        assert seen == RecordedRequest(
            method="GET", path="/", status=200, headers=HeaderFields((("Host", "a"),))
        )
        assert len({seen}) == 1


class TestStartAndStop:
    def test_it_has_no_address_unless_it_runs(self):
        index = RunningIndex()
        with pytest.raises(RuntimeError, match="is not running"):
            index.url
        with index:
            url, folder = index.url, index.folder
        with pytest.raises(urllib.error.URLError):
            fetch(url)
        assert not folder.exists()

    def test_it_can_be_started_again_and_is_empty_then(self):
        index = RunningIndex()
        for _ in range(2):
            with index:
                assert status_of(f"{index.url}demo/") == 404
                index.add_wheel("demo", "1.0")
                assert status_of(f"{index.url}demo/") == 200

    def test_it_cannot_be_started_twice_at_once(self, simple_index):
        with pytest.raises(RuntimeError, match="already running"):
            simple_index.start()
        assert status_of(simple_index.url) == 200

    def test_stopping_twice_does_no_harm(self):
        index = RunningIndex()
        index.stop()
        index.start()
        index.stop()
        index.stop()

    def test_an_error_at_the_start_is_raised_and_leaves_nothing(self, tmp_path):
        threads = set(threading.enumerate())
        index = RunningIndex(Settings(access_log=str(tmp_path / "no-such-folder" / "log")))
        with pytest.raises(FileNotFoundError):
            index.start()
        assert set(threading.enumerate()) <= threads
        with pytest.raises(RuntimeError, match="is not running"):
            index.folder

    def test_a_client_that_keeps_its_connection_does_not_keep_the_index(self):
        import http.client

        with RunningIndex() as index:
            client = http.client.HTTPConnection("127.0.0.1", int(index.url.split(":")[2].split("/")[0]))
            client.request("GET", "/simple/")
            client.getresponse().read()
        client.close()


def run_alone(program: str) -> str:
    """Run a program in a new interpreter, where every warning is an error, and give what it prints."""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


class TestNothingIsLeft:
    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
    def test_twenty_starts_and_stops_leave_no_thread_no_file_and_no_socket(self):
        program = """
import gc, os, tempfile, threading, urllib.request
from twisted_index.testing import RunningIndex

def round():
    with RunningIndex() as index:
        index.add_wheel("demo", "1.0")
        sdist = index.add_sdist("demo", "1.0")
        for path in ("simple/", "simple/demo/", f"simple/demo/{sdist.filename}", "-/problems", "packages/"):
            for _ in range(2):
                with urllib.request.urlopen(index.base_url + path) as response:
                    response.read()

def left():
    return threading.active_count(), sorted(os.listdir("/proc/self/fd")), os.listdir(tempfile.tempdir)

with tempfile.TemporaryDirectory() as tempfile.tempdir:
    round()
    before = left()
    for _ in range(20):
        round()
        assert left() == before, (left(), before)
gc.collect()
"""
        assert run_alone(program) == ""

    def test_the_reactor_of_the_tests_is_neither_needed_nor_touched(self):
        program = """
import sys, urllib.request
from twisted_index.testing import RunningIndex
with RunningIndex() as index:
    wheel = index.add_wheel("demo", "1.0")
    for path in ("", "simple/", "simple/demo/", f"simple/demo/{wheel.filename}", "-/problems", "-/health"):
        with urllib.request.urlopen(index.base_url + path) as response:
            response.read()
print("twisted.internet.reactor" in sys.modules)
"""
        assert run_alone(program) == "False"


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not in this environment")
class TestPip:
    @pytest.fixture
    def pip(self, tmp_path):
        """Run pip with nothing of this machine's settings and no way to any other index."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        dead_end = "http://127.0.0.1:9"
        env |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "HOME": str(tmp_path),
            "http_proxy": dead_end,
            "https_proxy": dead_end,
            "no_proxy": "127.0.0.1",
        }

        def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "pip", *map(str, arguments)]
            return subprocess.run(
                command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
            )

        return run

    def test_it_downloads_a_wheel_and_what_that_requires(self, simple_index, pip, tmp_path):
        wheels = [
            simple_index.add_wheel("our-plugin", "1.0", requires=["other>=2"]),
            simple_index.add_wheel("other", "2.1"),
        ]
        simple_index.add_wheel("other", "1.0")
        done = pip("download", "--index-url", simple_index.url, "-d", tmp_path / "got", "our-plugin")
        assert done.returncode == 0, done.stderr
        assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {
            wheel.filename: wheel.content for wheel in wheels
        }
        assert "/simple/our-plugin/" in [seen.path for seen in simple_index.requests]

    def test_it_installs_what_an_sdist_builds(self, simple_index, pip, tmp_path):
        simple_index.add_sdist("demo", "1.0", files={"demo.py": "answer = 42\n"})
        done = pip("install", "--index-url", simple_index.url, "--target", tmp_path / "site", "demo")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "site" / "demo.py").read_text() == "answer = 42\n"

    def test_it_passes_over_a_yanked_version(self, simple_index, pip, tmp_path):
        simple_index.add_wheel("demo", "1.0")
        simple_index.yank(simple_index.add_wheel("demo", "2.0").filename, "broken")
        done = pip("download", "--index-url", simple_index.url, "-d", tmp_path / "got", "demo")
        assert done.returncode == 0, done.stderr
        assert [path.name for path in (tmp_path / "got").iterdir()] == ["demo-1.0-py3-none-any.whl"]
