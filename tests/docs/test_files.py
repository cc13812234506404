"""
What a reader copies into a file: each is checked by the program that reads it.

A block in a language that has no check here fails.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.web.resource import Resource

from tests.docs.blocks import DOCUMENTS, ROOT, Block, blocks_of
from tests.docs.terminal import SECONDS, Terminal
from tests.kit.ports import free_port
from twisted_index.access.rights_file import rights_from_bytes
from twisted_index.config.layers import load
from twisted_index.indexes.index_file import parse_index_settings
from twisted_index.mirror.rules_file import read_mirror_file
from twisted_index.testing import make_wheel

DOCS = ROOT / "docs"
COPIED = [block for path in DOCUMENTS for block in blocks_of(path) if block.language != "console"]


def run(program: str, *words: str | Path) -> str:
    """Run a program that has to accept a file; skip the test where there is no such program."""
    found = shutil.which(
        program, path=f"{Path(sys.executable).parent}:/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin"
    )
    if found is None:
        pytest.skip(f"{program} is not installed here")
    done = subprocess.run(
        [found, *map(str, words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(block: Block, folder: Path, name: str = "file", around: str = "BLOCK") -> Path:
    """Write a block, with what stands around it in the reader's file."""
    path = folder / name
    path.write_text(around.replace("BLOCK", block.text), encoding="utf-8")
    return path


def check_toml(block: Block, folder: Path) -> None:
    tables = tomllib.loads(block.text)
    if "from" in tables:
        read_mirror_file(str(written(block, folder)))
        return
    if "bases" in tables:
        parse_index_settings(block.text.encode())
        return
    if "rule" in tables or "groups" in tables:
        rights_from_bytes(block.text.encode(), "rights.toml")
    else:
        # An excerpt stands in a file with uploads and an upstream: some settings have no effect without.
        around = "" if tables.keys() & {"upstream", "replica-of"} else 'upstream = "pip"\n'
        if "create-indexes" in tables:
            (folder / "indexes").mkdir()
            around += "" if "indexes" in tables else 'indexes = "indexes"\n'
        if not tables.keys() & {"upload", "auth", "rights"}:
            around += "upload = true\nanonymous-upload = true\n"
        path = written(block, folder, around=f"{around}BLOCK")
        load({"config": str(path)}, environ={}, folder=str(folder))


def check_yaml(block: Block, folder: Path) -> None:
    if "\njobs:\n" in block.text:
        run(
            "check-jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            written(block, folder, "index.yml"),
        )
        return
    kind = "rules" if block.text.startswith("groups:") else "config"
    run("promtool", "check", kind, *(["--syntax-only"] if kind == "config" else []), written(block, folder))


def check_nginx(block: Block, folder: Path) -> None:
    http = f"client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};"
    http += f" uwsgi_temp_path {folder}; scgi_temp_path {folder}; access_log off;"
    server = f"events {{}} http {{ {http} server {{ listen 127.0.0.1:{free_port()};\nBLOCK\n}} }}"
    path = written(block, folder, around=f"pid {folder}/pid; error_log stderr;\n{server}")
    run("nginx", "-t", "-p", folder, "-c", path)


def check_caddyfile(block: Block, folder: Path) -> None:
    run("caddy", "validate", "--adapter", "caddyfile", "--config", written(block, folder))


def check_haproxy(block: Block, folder: Path) -> None:
    defaults = "defaults\n    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n"
    front = f"frontend clients\n    mode tcp\n    bind 127.0.0.1:{free_port()}\n    default_backend index\n"
    run("haproxy", "-c", "-f", written(block, folder, around=f"{defaults}{front}BLOCK"))


def check_unnamed(block: Block, folder: Path) -> None:
    """A line of a crontab, or a file for logrotate."""
    if re.match(r"(?:[\d*/,-]+ ){5}(?:/\S+/)?twisted-index \w+ ", block.text):
        return
    run("logrotate", "--debug", "--state", folder / "state", written(block, folder))


def check_python(block: Block, folder: Path) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def check_unit(block: Block, folder: Path) -> None:
    """`systemctl edit` writes a drop-in; both units are checked as they are with it."""
    (name,) = re.findall(r"^# systemctl edit (\S+)", block.text)
    verify_units(folder, {name: block})


CHECKS: dict[str, Callable[[Block, Path], None]] = {
    "": check_unnamed,
    "caddyfile": check_caddyfile,
    "haproxy": check_haproxy,
    "ini": check_unit,
    "json": lambda block, _folder: json.loads(block.text),
    "nginx": check_nginx,
    "python": check_python,
    "text": lambda _block, _folder: None,  # what is read only, or takes what no reader has
    "toml": check_toml,
    "yaml": check_yaml,
}


@pytest.mark.parametrize("block", COPIED, ids=str)
def test_what_a_reader_copies_is_accepted(block: Block, tmp_path: Path):
    CHECKS[block.language](block, tmp_path)


# systemd


def verify_units(folder: Path, drop_ins: dict[str, Block]) -> None:
    for name in ("twisted-index.service", "twisted-index.socket"):
        text = (DOCS / name).read_text(encoding="utf-8")
        (folder / name).write_text(_installed_here(text), encoding="utf-8")
    for name, block in drop_ins.items():
        (folder / f"{name}.d").mkdir()
        (folder / f"{name}.d" / "override.conf").write_text(_installed_here(block.text), encoding="utf-8")
    said = run("systemd-analyze", "verify", folder / "twisted-index.service", folder / "twisted-index.socket")
    assert said == ""


def _installed_here(unit: str) -> str:
    """The program is only in an environment that the reader makes; any other stands for it."""
    return unit.replace("/opt/twisted-index/bin/twisted-index", "/bin/true")


def test_the_units_are_accepted(tmp_path: Path):
    verify_units(tmp_path, {})


def test_the_units_of_a_mirror_are_accepted(tmp_path: Path):
    units = [tmp_path / f"twisted-index-mirror.{kind}" for kind in ("service", "timer")]
    for unit in units:
        unit.write_text(_installed_here((DOCS / unit.name).read_text(encoding="utf-8")), encoding="utf-8")
    assert run("systemd-analyze", "verify", *units) == ""


@pytest.fixture
def terminal(tmp_path: Path, installed: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    terminals = []

    def make(*ports: int) -> Terminal:
        folder = tmp_path / "typed"
        folder.mkdir()
        terminals.append(Terminal(folder, installed, ports))
        return terminals[-1]

    yield make
    for made in terminals:
        made.stop()


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd is not installed here")
def test_the_service_serves_on_the_socket_of_systemd(tmp_path: Path, terminal: Callable[..., Terminal]):
    """With the variables that systemd sets for `StateDirectory=` and for a socket called `index`."""
    packages, state, logs = tmp_path / "packages", tmp_path / "state", tmp_path / "logs"
    for folder in (packages, state, logs / "twisted-index"):
        folder.mkdir(parents=True)
    make_wheel("demo", "1.0").write_to(packages)
    service = (DOCS / "twisted-index.service").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=/opt/twisted-index/bin/(.+)$", service, re.MULTILINE)
    command = command.replace("/srv/packages", str(packages)).replace("%L", str(logs))
    port = free_port()
    # The first connection starts the service, so it has to be a request.
    activate = (
        f"systemd-socket-activate -l [::1]:{port} --fdname=index -E STATE_DIRECTORY={state} -E PATH -E HOME"
    )
    shell = terminal()
    shell.start(f"{activate} {command}")

    deadline = time.monotonic() + SECONDS
    page = ""
    while "demo-1.0" not in page and time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://[::1]:{port}/simple/demo/") as answer,
        ):
            page = answer.read().decode()
    assert "demo-1.0-py3-none-any.whl" in page, shell.log
    assert (state / "cache").is_dir()
    shell.stop()
    assert "GET /simple/demo/" in (logs / "twisted-index" / "access.log").read_text()


# Python


def embedding(name: str) -> str:
    """Find the block of docs/embedding.md that has a word in it."""
    (found,) = (block for block in COPIED if block.document == "docs/embedding.md" and name in block.text)
    return found.text


def test_the_resource_can_be_put_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packages").mkdir()
    root = Resource()
    exec(embedding("root.putChild"), {"root": root})
    assert root.listNames() == [b"python"]


def test_the_service_runs_below_twistd(terminal: Callable[..., Terminal]):
    port = free_port()
    shell = terminal(port)
    (shell.folder / "packages").mkdir()
    program = embedding("ChangeLogger").replace("tcp:8080", f"tcp:{port}:interface=127.0.0.1")
    (shell.folder / "index.tac").write_text(program.replace('"packages"', f'"{shell.folder}/packages"'))
    shell.type("twistd -n -y index.tac")
    make_wheel("demo", "1.0").write_to(shell.folder / "packages")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/simple/demo/") as answer:
        assert b"demo-1.0" in answer.read()


def test_the_fixture_works_in_a_test(tmp_path: Path):
    plugins, test = embedding("pytest_plugins").split("\n\n\n")
    (tmp_path / "conftest.py").write_text(plugins)
    installer = "import urllib.request\n\ndef run_our_installer(_, url):\n"
    installer += "    urllib.request.urlopen(f'{url}our-plugin/').close()\n\n"
    (tmp_path / "test_ours.py").write_text(installer + test)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout
