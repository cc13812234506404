"""A folder, and the console command that changes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import task
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from twisted_index import cli
from twisted_index.backends.folder.source import FolderSource
from twisted_index.events.audit_log import AuditFile
from twisted_index.simple.model import ProjectPage
from twisted_index.testing import SynchronousRunner
from twisted_index.testing.reactor_thread import _dispose, _make_reactor


@dataclass
class Console:
    """Runs commands on one folder, and looks at it through a source."""

    path: Path
    state: Path
    capture: Any

    def told(self, *words: str) -> tuple[int, str, str]:
        """Give exit code, standard output and standard error, for just these words."""
        code = cli.main(words)
        output = self.capture.readouterr()
        return code, output.out, output.err

    def run(self, command: str, *words: str, path: Sequence[Path] = ()) -> str:
        """Run a command that has to go well; give what it says."""
        folders = [f"--path={folder}" for folder in path or [self.path]]
        code, out, err = self.told(command, *folders, f"--state={self.state}", *words)
        assert (code, err) == (0, "")
        return out

    def page(self, project: str = "demo") -> ProjectPage | None:
        source = FolderSource(
            self.path, reactor=Clock(), reader=SynchronousRunner(), cache_thread=SynchronousRunner()
        )
        answers: list[Any] = []
        maybeDeferred(source.project_page, project).addCallback(answers.append)
        maybeDeferred(source.stop)
        page: ProjectPage | None = answers[0].value
        return page

    def files(self, project: str = "demo") -> list[str]:
        page = self.page(project)
        return [] if page is None else [file.filename for file in page.files]

    def events(self) -> list[tuple[str, str]]:
        """The history: what, to which file or project; the oldest first."""
        events = AuditFile(str(self.state)).latest(100)
        return [(event.action, event.filename or event.project) for event in reversed(events)]


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    for name in [name for name in os.environ if name.startswith("TWISTED_INDEX_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "packages"
    path.mkdir()
    (tmp_path / "state").mkdir()
    return Console(path, tmp_path / "state", capsys)


@pytest.fixture
def aged() -> Callable[[Path, float], None]:
    """Make a file so many days older."""

    def age(path: Path, days: float) -> None:
        seconds = path.stat().st_mtime - days * 86400
        os.utime(path, (seconds, seconds))

    return age


@pytest.fixture
def without_settings(monkeypatch, tmp_path):
    """Run in an empty folder, without settings of this machine for us, pip and uv."""
    for name in os.environ:
        if name.startswith(("TWISTED_INDEX_", "PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / ".uv-cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capfd, monkeypatch):
    """Run a subcommand, and give exit code, standard output and standard error."""
    react = task.react

    def react_anew(main):
        # A reactor runs once, and this process runs the command many times.
        reactor = _make_reactor()
        try:
            react(main, _reactor=reactor)
        finally:
            _dispose(reactor)

    monkeypatch.setattr(task, "react", react_anew)

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(words)
        output = capfd.readouterr()
        return code, output.out, output.err

    return run
