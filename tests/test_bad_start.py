"""
What people see who start the server wrongly, below twistd and below twist.

One line that says what is wrong, an exit code that is not 0, and never a traceback.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

_SCRIPT = "import sys; sys.argv[0] = {!r}; from {} import {} as run; run()"
TWISTD = [sys.executable, "-c", _SCRIPT.format("twistd", "twisted.scripts.twistd", "run")]
TWIST = [sys.executable, "-m", "twisted"]

SECONDS = 30


@pytest.fixture
def folder(tmp_path):
    """Where the server is started: files for each kind of mistake lie here."""
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "key.toml").write_text("rescn = 1\n")
    (tmp_path / "value.toml").write_text("[limits]\nthreads = 0\n")
    (tmp_path / "broken.toml").write_text("cors = true\nrescan = ?\n")
    return tmp_path


@pytest.fixture
def busy_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def start(command, folder, env=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TWISTED_INDEX_")}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**clean, "PYTHONPATH": str(REPOSITORY), **(env or {})},
    )


def finish(process):
    """Wait for the end of a process that has nothing to run for."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert "Traceback" not in out + err
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("words", "env", "part"),
    [
        (["nope"], {}, "nope' cannot be read: No such file or directory. Create it (mkdir -p "),
        (["file"], {}, "file' cannot be read: Not a directory."),
        pytest.param(
            ["locked"],
            {},
            "locked' cannot be read: Permission denied.",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root"),
        ),
        (["--listen", "foo:8080"], {}, "Cannot listen on 'foo:8080': 'foo' is neither an address nor a type"),
        (["--listen", "tcp:notaport"], {}, "Cannot listen on 'tcp:notaport': "),
        (["-p", "99999"], {}, "99999 is not a port"),
        (["--rescan", "soon"], {}, "--rescan: 'soon' is not a duration"),
        (["--add-header", "X"], {}, "--add-header: 'X' is not a header field"),
        (["--frobnicate"], {}, "--frobnicate is not an option; see --help."),
        (["--title", "Acme"], {}, "a line of the file that --config names, or TWISTED_INDEX_TITLE."),
        (["--host", "::"], {}, "--host is not an option; did you mean --listen ADDRESS:PORT?"),
        (["DIR", "-l", "x"], {}, "-l is not an option; did you mean --access-log FILE?"),
        (["--config", "key.toml"], {}, "key.toml: rescn is not a setting; did you mean rescan?"),
        (["--config", "value.toml"], {}, "value.toml: limits: threads: 0 is not a whole number from 1."),
        (["--config", "broken.toml"], {}, "(at line 2, column 10)."),
        ([], {"TWISTED_INDEX_RESCN": "1"}, "TWISTED_INDEX_RESCN is not a setting"),
        (["--as-of", "release-7"], {}, "as-of: There is no snapshot release-7 here."),
        (
            ["--indexes", ".", "--as-of", "2026-11-01"],
            {"TWISTED_INDEX_DEFAULT_INDEX": "locked"},
            "as-of is of the index without a name, which is locked: write the moment into the file .as-of",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_64(folder, words, env, part):
    # Both at once: most of their time is Python's start.
    twistd = start([*TWISTD, "-n", "simpleindex", *words], folder, env)
    twist = start([*TWIST, "simpleindex", *words], folder, env)

    for code, out, err in (finish(twistd), finish(twist)):
        assert (code, out, err.count("\n")) == (64, "", 1)
        assert err.startswith("twisted-index: ")
        assert part in err


def listen(port):
    return ["simpleindex", "--state", "none", "--listen", f"tcp:{port}:interface=127.0.0.1"]


def told(port):
    return (
        f"Cannot listen on port {port} of 127.0.0.1: Address already in use. Is another server running there?"
    )


def test_below_twist_a_busy_port_is_one_line_and_exit_code_1(folder, busy_port):
    code, out, err = finish(start([*TWIST, *listen(busy_port)], folder))

    assert (code, out) == (1, "")
    assert err == f"{told(busy_port)}\n"


def test_below_twistd_a_busy_port_is_one_critical_line_and_exit_code_1(folder, busy_port):
    code, out, err = finish(start([*TWISTD, "-n", *listen(busy_port)], folder))

    (line,) = (line for line in out.splitlines() if "#critical]" in line)
    assert (code, err) == (1, "")
    assert line.endswith(told(busy_port))
    assert not (folder / "twistd.pid").exists()


def test_a_daemon_that_cannot_start_tells_whoever_started_it(folder, busy_port):
    """twistd waits for word from its daemon: it must not wait for ever, nor find a pid file next time."""
    code, out, err = finish(start([*TWISTD, *listen(busy_port)], folder))

    assert code == 1
    assert f"Cannot listen on port {busy_port}" in out + err
    assert not (folder / "twistd.pid").exists()
    log = (folder / "twistd.log").read_text()
    assert log.count("Cannot listen on port") == 1
    assert "Traceback" not in log


def test_a_server_that_is_its_own_upstream_is_one_line_and_exit_code_1(folder):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code, out, err = finish(
        start([*TWIST, *listen(port), "--upstream", f"http://localhost:{port}/simple/"], folder)
    )

    assert (code, out) == (1, "")
    assert err == (
        f"Cannot start: The upstream http://localhost:{port}/simple/ is this server itself; name another.\n"
    )


def test_the_second_of_two_ports_may_be_the_busy_one(folder, busy_port):
    words = [*listen(0), "--listen", f"tcp:{busy_port}:interface=127.0.0.1"]

    code, _, err = finish(start([*TWIST, *words], folder))

    assert (code, err.count("\n")) == (1, 1)
