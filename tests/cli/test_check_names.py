"""Names of the folder that an upstream has too are found without any of them being sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import task

from tests.kit.github_server import GitHubServer
from twisted_index.testing import RunningIndex, make_wheel
from twisted_index.testing.reactor_thread import _dispose, _make_reactor

from .conftest import Console

SENTENCE = "An upstream has a project of this name too"


@pytest.fixture
def upstream() -> Iterator[RunningIndex]:
    with RunningIndex() as running:
        yield running


@pytest.fixture(autouse=True)
def _react_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reactor runs once, and this process runs the command several times."""
    react = task.react

    def react_anew(main):
        reactor = _make_reactor()
        try:
            react(main, _reactor=reactor)
        finally:
            _dispose(reactor)

    monkeypatch.setattr(task, "react", react_anew)


def found(console: Console, upstream: RunningIndex, *words: str) -> tuple[int, list[str]]:
    code, out, _err = console.told(
        *("check", f"--path={console.path}", f"--state={console.state}", "--json"),
        *("--upstream-names", f"--upstream={upstream.url}", *words),
    )
    problems = json.loads(out)["problems"]
    assert all(problem["reason"].startswith(SENTENCE) for problem in problems)
    return code, [problem["path"] for problem in problems]


def test_a_name_that_the_upstream_has_too_is_found_and_no_name_is_sent(
    console: Console, upstream: RunningIndex
):
    for name in ("Acme.Tool", "secret"):
        make_wheel(name, "1.0").write_to(console.path)
    upstream.add_wheel("acme-tool", "999")
    assert found(console, upstream) == (1, ["acme-tool/"])
    assert {request.path for request in upstream.requests} == {"/simple/"}


def test_a_name_in_the_releases_of_a_repository_is_found(console: Console):
    made = make_wheel("acme", "1.0")
    for wheel in (made, make_wheel("other", "1.0")):
        wheel.write_to(console.path)
    config = console.path.parent / "index.toml"
    with GitHubServer() as forge:
        word = forge.word(forge.repository("octo/wheels"))
        forge.forge.named("octo/wheels").release("v1", {made.filename: made.content})
        config.write_text(
            f'path = "{console.path}"\nstate = "{console.state}"\nupstream = "{word}"\nupstream-only = "*"\n'
        )
        code, out, _err = console.told("check", f"--config={config}", "--upstream-names", "-q")
    assert (code, out.partition(":")[0]) == (1, "acme/")


def test_a_repository_may_be_named_by_the_option(console: Console):
    made = make_wheel("acme", "1.0")
    made.write_to(console.path)
    with GitHubServer() as forge:
        repo = forge.repository("octo/wheels")
        repo.release("v1", {made.filename: made.content})
        code, out, _err = console.told(
            *("check", f"--path={console.path}", f"--state={console.state}", "-q"),
            *("--upstream-names", f"--upstream={forge.word(repo)}"),
        )
    assert (code, out.partition(":")[0]) == (1, "acme/")


def test_nothing_is_asked_without_the_option(console: Console, upstream: RunningIndex):
    make_wheel("acme", "1.0").write_to(console.path)
    upstream.add_wheel("acme", "999")
    config = console.path.parent / "index.toml"
    config.write_text(f'path = "{console.path}"\nstate = "{console.state}"\nupstream = "{upstream.url}"\n')
    assert console.told("check", f"--config={config}", "-q") == (0, "", "")
    assert list(upstream.requests) == []


def test_names_that_are_local_only_or_merged_are_settled(console: Console, upstream: RunningIndex):
    for name in ("acme", "merged", "other"):
        make_wheel(name, "1.0").write_to(console.path)
        upstream.add_wheel(name, "999")
    config = console.path.parent / "index.toml"
    config.write_text(
        f'path = "{console.path}"\nstate = "{console.state}"\nupstream = "{upstream.url}"\n'
        'local-only = ["acme"]\nmerge-upstream = ["merged"]\n'
    )
    code, out, _err = console.told("check", f"--config={config}", "--upstream-names", "-q")
    assert (code, out.partition(":")[0]) == (1, "other/")


def test_copies_of_the_upstream_claim_nothing(console: Console, upstream: RunningIndex):
    made = upstream.add_wheel("demo", "1.0")
    path = made.write_to(console.path / "demo")
    line = f"{made.sha256}  {made.size}  2026-01-01T00:00:00Z  {path.name}  {upstream.url}\n"
    (path.parent / ".copies").write_text(line)
    assert found(console, upstream) == (0, [])


def test_a_list_that_cannot_be_had_loses_nothing_that_was_found(
    console: Console, upstream: RunningIndex, tmp_path: Path
):
    (console.path / "acme-1.0-py3.11.egg").touch()
    words = (
        f"--path={console.path}",
        "--state=none",
        "--upstream-names",
        "--upstream=http://127.0.0.1:9/simple/",
    )
    code, out, err = console.told("check", *words)
    assert code == 2
    assert out.startswith("acme-1.0-py3.11.egg: This is an egg")
    assert "twisted-index: The upstream" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--upstream-names"], "--upstream-names needs an upstream"),
        (["--upstream=pip"], "--upstream is for --upstream-names."),
    ],
)
def test_a_wrong_command_line_is_one_sentence(console: Console, words: list[str], sentence: str):
    code, out, err = console.told("check", f"--path={console.path}", "--state=none", *words)
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert sentence in err
