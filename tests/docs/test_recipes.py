"""
What a reader types, typed: the `console` blocks of each document, in order, in a checkout and a new home.

What a test does otherwise is in table.py, and only there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from tests.docs import table
from tests.docs.blocks import DOCUMENTS, ROOT, Command, blocks_of, commands_of, name_of
from tests.docs.conftest import activated
from tests.docs.terminal import Terminal
from tests.kit.environments import Environment, run
from tests.kit.ports import free_port

T = TypeVar("T")

#: Documents that begin with the installation; the others share an environment.
_INSTALLING = ("README.md",)
#: Documents that copy from another index; the index that pip is configured with has too much.
_ASKING = ("docs/classroom.md", "docs/download.md", "docs/mirror.md", "docs/moving.md", "docs/upstream.md")
#: Documents that read releases.
_RELEASING = ("docs/export.md", "docs/github.md")
_ROOT = re.compile(r"(?<![\w}./:])/(?=(?:opt|srv|etc|var|backup)/)")


def typed_in(document: Path) -> list[Command]:
    """Give all commands of a document, in order."""
    blocks = [block for block in blocks_of(document) if block.language == "console"]
    return [command for block in blocks for command in commands_of(block)]


TYPED = [document for document in DOCUMENTS if typed_in(document)]


def first(beginnings: Mapping[str, T], command: str) -> T | None:
    """Find what a table has for a command."""
    return next((text for start, text in beginnings.items() if command.startswith(start)), None)


class Reader:
    """Types the commands of one document as table.py says."""

    def __init__(self, document: str, terminal: Terminal, known: dict[str, str]) -> None:
        self._document = document
        self._terminal = terminal
        self._known = known
        self.left_out: list[str] = []

    def follow(self, command: Command) -> None:
        """Type a command, and compare what it prints with what the document shows."""
        text = command.text
        if first(table.NOT_TYPED.get(self._document, {}), text) is not None:
            return
        before = first(table.BEFORE.get(self._document, {}), text) or ()
        for step in (before,) if isinstance(before, str) else before:
            self._type(step)
        if any(text.startswith(name) and not self._terminal.has(name) for name in table.WHERE_INSTALLED):
            self.left_out.append(text)
            return
        output = self._type(text, beside=text.startswith(table.BESIDE.get(self._document, ())))
        for line in command.output:
            assert re.search(pattern_of(line), output, re.MULTILINE), f"$ {text}\n{output}\nlacks: {line}"
        after = first(table.AFTER.get(self._document, {}), text)
        if after is not None:
            self._type(after)

    def _type(self, text: str, *, beside: bool = False) -> str:
        output = self._terminal.type(self._as_typed(text), beside=beside)
        for token in re.findall(r"\btix-[\w-]+", output):
            self._known["tix-…"] = token
        return output

    def _as_typed(self, text: str) -> str:
        text = _ROOT.sub(f"{self._known['{root}']}/", text)
        instead = table.INSTEAD.get(self._document, {}) | table.EVERYWHERE
        for shown, typed in (*instead.items(), *self._known.items()):
            text = text.replace(shown, typed)
        return text


def pattern_of(line: str) -> str:
    """Match a line of output: `…` is anything, and a number any other number."""
    return "^" + re.sub(r"\d+(?:\\\.\d+)*", r"\\d[\\d.]*", re.escape(line).replace("…", ".*"))


@pytest.fixture
def reader(
    tmp_path: Path, checkout: Path, made: Path, pip_cache: dict[str, str], request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Reader]]:
    terminals = []

    def make(document: str) -> Reader:
        if document in _INSTALLING:
            empty = Environment(tmp_path / "venv")
            run(sys.executable, "-m", "venv", str(empty.folder))
            env = pip_cache | activated(empty)
        else:
            env = pip_cache | request.getfixturevalue("installed")
        port, tls = free_port(), free_port()
        env["TWISTED_INDEX_LISTEN"] = f"tcp:{port}:interface=127.0.0.1"
        known = {
            "{port}": str(port),
            "{tls}": str(tls),
            "{made}": str(made),
            "{root}": str(tmp_path / "root"),
        }
        if document in _ASKING:
            known["{upstream}"] = request.getfixturevalue("upstream").url
        if document in _RELEASING:
            known["{forge}"] = f"github+{request.getfixturevalue('forge').url}"
            known["{token}"] = "github_pat_docs"
        if document in ("docs/classroom.md", "docs/download.md", "docs/mirror.md", "docs/upstream.md"):
            env |= {"PIP_INDEX_URL": known["{upstream}"], "UV_DEFAULT_INDEX": known["{upstream}"]}
            env |= {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "UV_PYTHON_DOWNLOADS": "never"}
        for name in (
            "etc/systemd/system",
            "opt",
            "srv/packages",
            "backup",
            "var/lib/twisted-index/keep",
            "var/log/twisted-index",
        ):
            (tmp_path / "root" / name).mkdir(parents=True, exist_ok=True)
        terminals.append(Terminal(checkout, env, (port, tls)))
        return Reader(document, terminals[-1], known)

    yield make
    for terminal in terminals:
        terminal.stop()


@pytest.mark.parametrize("document", TYPED, ids=name_of)
def test_what_a_reader_types_works(document: Path, reader: Callable[[str], Reader]):
    following = reader(name_of(document))
    for command in typed_in(document):
        following.follow(command)
    for command in following.left_out:
        print(f"Not typed, as the program is not installed here: {command}")


def test_what_is_not_typed_is_still_in_the_documents():
    named = (table.NOT_TYPED, table.BEFORE, table.AFTER, table.BESIDE)
    for name, beginnings in (entry for one in named for entry in one.items()):
        commands = [command.text for command in typed_in(ROOT / name)]
        unknown = [start for start in beginnings if not any(text.startswith(start) for text in commands)]
        assert unknown == [], name


def test_what_is_replaced_is_still_in_the_documents():
    texts = {name_of(document): "\n".join(c.text for c in typed_in(document)) for document in TYPED}
    everything = "\n".join(texts.values())
    assert [shown for shown in table.EVERYWHERE if shown not in everything] == []
    assert [
        (name, shown) for name in table.INSTEAD for shown in table.INSTEAD[name] if shown not in texts[name]
    ] == []
