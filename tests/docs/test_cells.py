"""The commands and options in tables of the documents, each tried by itself."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.docs.blocks import ROOT, code_in_tables
from tests.docs.terminal import SERVERS, Terminal
from tests.kit.ports import free_port
from twisted_index.testing import make_sdist, make_wheel

#: Tables of which each cell is tried, by document and heading.
TABLES = (
    ("README.md", "Cheat sheet"),
    ("docs/publishing.md", "Managing files"),
    ("docs/moving.md", "Options"),
)

#: What is typed otherwise. A server runs beside all cells at `{port}`; `{other}` and `{tls}` are free.
INSTEAD = {
    "HOST:8080": "127.0.0.1:{port}",
    "https://HOST/": "http://127.0.0.1:{port}/",
    "--access-log FILE": "--access-log access.log",
    "9000": "{other}",
    "8080": "{other}",
    "8443:certificate=FILE:key=FILE": "{tls}:certificate=both.pem:key=both.pem",
    "--upstream URL": "--upstream http://127.0.0.1:{port}/simple/",
    "curl -u alice ": "curl --fail -u alice:secret ",
    "reason=…": "reason=old",
    '"name": "ci"': '"name": "other"',  # another cell makes that one
    "delete FILE": "delete acme-1.0.tar.gz",
}

#: What is not tried, and why.
NO_COMMANDS = {
    "--yes": "belongs to the command before it",
    "-d yanked=false": "belongs to a command of another cell",
    "twisted-index unyank ...": "another cell has it in full",
    "draft publish v1": "belongs to a command of the same cell",
    "twisted-index prefetch": "another cell has it in full",
    "--upstream github:OWNER/REPO": "docs/github.md has the same with a repository that is there",
    "twisted-index release --to github:acme/tools --tag v1.0 dist/*": "docs/github.md has it, too",
    "twisted-index mirror mirror.toml": "docs/mirror.md has the file, and both are tried there",
    "twisted-index download --path packages -r requirements.txt --python-version 3.13 --platform win_amd64": (
        "docs/download.md has the same with an index that is there"
    ),
    "twisted-index serve copy --state copy-state --replica-of https://HOST": (
        "docs/replication.md has it with a primary"
    ),
    "twisted-index takeover --state DIR": "docs/replication.md has it, too",
    "--planned": "belongs to the command before it",
    'micropip.install("acme", index_urls="https://HOST/simple/")': "tests/clients/test_client_browser.py",
    'root.putChild(b"python", IndexResource(FolderSource("packages")))': "test_files.py",
    "simple_index": "test_files.py",
    "-": "is a value of the option before it",
    "twistd": "is a word",
    "/x/": "is a prefix",
    "htpasswd": "is an extra",
}
#: What an option has no effect without.
NEEDS = {
    "keep-prereleases": "--upload --anonymous-upload",
    "--overwrite": "--upload --anonymous-upload",
    "--rights": "--auth htpasswd:users.htpasswd",
}

ONCE = dict.fromkeys(code for name, heading in TABLES for code in code_in_tables(ROOT / name, heading))
TRIED = [code for code in ONCE if code not in NO_COMMANDS]


def fill(folder: Path) -> None:
    """Lay out what the cells name."""
    for name in ("packages", "dist", "state"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("packages", "more", "dist"):
        (folder / name).mkdir(exist_ok=True)
    for version in ("1.0", "1.1"):
        make_sdist("acme", version).write_to(folder / "packages")
        make_wheel("acme-tools", version).write_to(folder / "packages")
    make_wheel("acme", "2.0").write_to(folder / "dist")
    for name in ("staging", "prod"):
        (folder / "indexes" / name).mkdir(parents=True, exist_ok=True)
    make_sdist("acme", "1.2").write_to(folder / "indexes" / "staging")


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, installed: dict[str, str]
) -> Iterator[tuple[Terminal, Terminal]]:
    """A shell beside which a server runs, and one in the same folder that starts servers."""
    folder = tmp_path_factory.mktemp("cells") / "folder"
    folder.mkdir()
    fill(folder)
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    (folder / "users.htpasswd").write_text(f"alice:{{SHA}}{digest}\n")
    (folder / "rights.toml").write_text('[[rule]]\nallow = ["operate"]\nto = ["everyone"]\n')
    (folder / "requirements.txt").write_text("acme-tools\n")
    authority = trustme.CA()
    authority.issue_cert("index.test").private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    port, other, tls = free_port(), free_port(), free_port()
    env = installed | {
        "TWISTED_INDEX_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "TWISTED_INDEX_PATH": str(folder / "packages"),
        "TWINE_USERNAME": "alice",
        "TWINE_PASSWORD": "secret",
        "UV_PUBLISH_USERNAME": "alice",
        "UV_PUBLISH_PASSWORD": "secret",
    }
    served = Terminal(folder, env, (port,))
    served.type("twisted-index serve --upload --auth htpasswd:users.htpasswd")
    beside = {"TWISTED_INDEX_LISTEN": f"tcp:{other}:interface=127.0.0.1", "TWISTED_INDEX_STATE": "none"}
    starting = Terminal(folder, env | beside, (other, tls))
    yield served, starting
    starting.stop()
    served.stop()


def as_typed(code: str, ports: dict[str, int]) -> str:
    """Make a command of a cell: options and settings are those of a server, and a URL is opened."""
    for shown, typed in INSTEAD.items():
        code = code.replace(shown, typed)
    for name, port in ports.items():
        code = code.replace(name, str(port))
    if code.startswith("-"):
        code = f"twisted-index serve packages {code}"
    if re.match(r"[a-z-]+ = ", code):
        code = f"echo {shlex.quote(code)} >index.toml && twisted-index serve packages --config index.toml"
    if code.startswith("/-/"):
        code = f"http://127.0.0.1:{ports['{port}']}{code}"
    if code.startswith("http://"):
        code = f"curl --fail -u alice:secret {code}"
    for option, needed in NEEDS.items():
        if option in code and needed not in code:
            code += f" {needed}"
    return code


@pytest.mark.parametrize("code", TRIED)
def test_what_a_table_offers_works(code: str, desk: tuple[Terminal, Terminal]):
    served, starting = desk
    fill(served.folder)
    ports = {"{port}": served.ports[0], "{other}": starting.ports[0], "{tls}": starting.ports[1]}
    command = as_typed(code, ports)
    shell = starting if SERVERS.search(command) else served
    shell.type(command)
    starting.stop()


def test_what_is_no_command_is_still_in_a_table():
    assert [code for code in NO_COMMANDS if code not in ONCE] == []
