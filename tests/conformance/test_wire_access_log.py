"""Where a running server writes the requests, and which client it names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.parametrize("fast_path", [True, False])
def test_behind_a_trusted_proxy_the_client_is_logged_and_not_the_proxy(server_factory, tmp_path, fast_path):
    config = tmp_path / "settings.toml"
    config.write_text(f"fast-path = {str(fast_path).lower()}\n")
    log = tmp_path / "access.log"
    packages = tmp_path / "packages"
    packages.mkdir()
    options = ["--access-log", str(log), "--trusted-proxy", "127.0.0.1", "--config", str(config)]
    server = server_factory(packages, options=options)
    for _ in range(3):
        server.get("/simple/absent/", headers={"X-Forwarded-For": "203.0.113.7"})
    server.stop()
    lines = [line for line in log.read_text().splitlines() if "/simple/absent/" in line]
    assert [line.split(" ", 1)[0] for line in lines] == ["203.0.113.7"] * 3


@pytest.mark.parametrize("fast_path", ["1", "0"])
def test_a_hyphen_is_standard_output(server_factory, tmp_path, fast_path):
    environment = {"TWISTED_INDEX_ACCESS_LOG_FORMAT": "json", "TWISTED_INDEX_FAST_PATH": fast_path}
    server = server_factory(tmp_path, options=["--access-log", "-"], env=environment)
    for _ in range(3):
        server.get("/simple/absent/", headers={"User-Agent": 'a"b'})
    server.stop()
    logged = [json.loads(line) for line in server.log.splitlines() if "/simple/absent/" in line]
    assert [(entry["status"], entry["http_user_agent"]) for entry in logged] == [(404, 'a"b')] * 3
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_and_an_access_log_no_requests_are_shown(server_factory, tmp_path):
    server = server_factory(tmp_path)
    server.get("/simple/absent/")
    server.stop()
    assert "/simple/absent/" not in server.log


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals here")
def test_a_terminal_shows_each_request(tmp_path):
    terminal, inner = os.openpty()
    options = ["--state", "none", "--listen", "tcp:0:interface=127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted_index", "serve", str(tmp_path), *options],
        stdin=subprocess.DEVNULL,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    with os.fdopen(terminal, "r", errors="replace") as lines:
        try:
            port = next(found[1] for line in lines if (found := re.search(r"Listening on port (\d+)", line)))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/simple/") as response:
                response.read()
            shown = next(line for line in lines if "/simple/ " in line and "pip" not in line)
        finally:
            process.terminate()
            process.wait(15)
    assert re.fullmatch(r"\d\d:\d\d:\d\d 127\.0\.0\.1 GET /simple/ 200\s*", shown)
