"""The configuration file while the server runs: what holds at once, what waits, and what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from tests.kit.configured_server import ConfiguredServer
from twisted_index.access.login_throttle import FREE_FAILURES
from twisted_index.config.layers import ConfigSources, changed_settings
from twisted_index.config.policy_entry import PolicyEntry
from twisted_index.config.reload import ConfigReloader, reloadable
from twisted_index.config.settings import (
    AccessSettings,
    Limits,
    Settings,
    UploadSettings,
    UpstreamPolicy,
    UpstreamSettings,
)
from twisted_index.errors import ConfigurationError
from twisted_index.indexes.builder import SourceBuilder
from twisted_index.tap import makeService
from twisted_index.testing import IndexInMemory, MemorySource, RunningIndex, make_wheel

UPSTREAM = 'upstream = "https://example.org/simple"\n'


@pytest.fixture
def logged() -> Iterator[list[tuple[LogLevel, str]]]:
    lines: list[tuple[LogLevel, str]] = []

    def note(event: dict[str, Any]) -> None:
        lines.append((event["log_level"], formatEvent(event)))

    globalLogPublisher.addObserver(note)
    yield lines
    globalLogPublisher.removeObserver(note)


class Configured:
    """A configuration file, and the settings that follow it."""

    def __init__(self, folder: Path, text: str = UPSTREAM) -> None:
        self.path = folder / "index.toml"
        self.path.write_text(text)
        self.layers = ConfigSources(
            given={"config": str(self.path), "rescan": "5s"}, environ={"HOME": "/"}, folder=str(folder)
        )
        self.clock = Clock()
        self.stats = 0
        self.applied: list[Settings] = []
        self.following = ConfigReloader(
            self.layers.load(), str(self.path), self.layers.load, self.clock, stat=self._stat
        )
        self.following.apply = self.applied.append

    def _stat(self, path: str) -> os.stat_result:
        self.stats += 1
        return os.stat(path)

    def write(self, text: str) -> None:
        """Write the file anew, and let it be time to look."""
        self.path.write_text(text)
        self.look_later()

    def look_later(self) -> None:
        self.clock.advance(1)
        self.following.poll()

    def settle(self) -> None:
        """Make the file too old for one more change to have the same time."""
        self.following._file._wall = lambda: time.time() + 60
        self.look_later()


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path)


# When it is read


def test_a_change_is_applied_and_logged(configured, logged):
    configured.write(UPSTREAM + 'upstream-deny = ["evil"]\n')

    (settings,) = configured.applied
    assert settings.upstreams.policy == UpstreamPolicy(upstream_deny=(PolicyEntry(match="evil"),))
    assert configured.following.settings is settings
    assert logged == [
        (LogLevel.info, f"Reloaded the configuration: {configured.path} (upstream-deny)"),
    ]


def test_options_still_win_over_the_file(configured, logged):
    configured.write(UPSTREAM + 'rescan = "9s"\ncooldown = "1d"\n')

    assert configured.applied[0].rescan == 5.0
    assert len(logged) == 1


def test_the_file_is_looked_at_once_a_second_at_the_most(configured):
    configured.settle()
    before = configured.stats
    for _again in range(10):
        configured.following.poll()
        configured.clock.advance(0.05)
    assert configured.stats == before
    configured.clock.advance(1)
    configured.following.poll()
    configured.following.poll()
    assert configured.stats == before + 1


def test_nothing_is_planned_for_later(configured):
    configured.write(UPSTREAM + "cooldown = 5\n")

    assert configured.clock.getDelayedCalls() == []


def test_a_file_that_is_touched_or_written_with_the_same_meaning_changes_nothing(configured, logged):
    configured.write("# the same\n" + UPSTREAM)

    assert configured.applied == []
    assert logged == []


def test_a_file_behind_a_link_that_leads_elsewhere_is_followed(tmp_path):
    """So does Kubernetes put another ConfigMap in the place of one."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "index.toml").write_text(UPSTREAM)
    (tmp_path / "new" / "index.toml").write_text(UPSTREAM + "no-sdists = true\n")
    (tmp_path / "data").symlink_to("old")
    (tmp_path / "data" / "index.toml").stat()
    configured = Configured(tmp_path / "data")
    (tmp_path / "data.new").symlink_to("new")
    os.replace(tmp_path / "data.new", tmp_path / "data")
    configured.look_later()

    assert configured.applied[0].upstreams.policy.no_sdists


# What is wrong


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("upstream = [\n", "this is not TOML"),
        (UPSTREAM + "cooldown = true\n", "cooldown: True is not a duration"),
        (UPSTREAM + "cool-down = 5\n", "did you mean cooldown?"),
        ("cooldown = 5\n", "cooldown has no effect without an upstream"),
    ],
)
def test_what_is_wrong_keeps_the_settings_and_is_logged_once(configured, logged, text, objection):
    configured.write(text)
    configured.look_later()
    configured.look_later()

    assert configured.applied == []
    ((level, line),) = logged
    assert level is LogLevel.critical
    assert line.startswith("The settings are unchanged. ")
    assert objection in line


def test_a_file_that_is_gone_keeps_the_settings_until_it_is_back(configured, logged):
    configured.path.unlink()
    configured.look_later()
    assert [level for level, _line in logged] == [LogLevel.critical]

    configured.write(UPSTREAM + "no-sdists = true\n")
    assert configured.applied[0].upstreams.policy.no_sdists


def test_what_cannot_be_applied_is_tried_again_until_it_can(configured, logged):
    """The fault may lie in another file, which this one names."""

    def refuse(_settings: Settings) -> None:
        raise ConfigurationError("The users cannot be read.")

    configured.following.apply = refuse
    configured.write(UPSTREAM + "no-sdists = true\n")
    configured.look_later()
    assert logged == [(LogLevel.critical, "The settings are unchanged. The users cannot be read.")]
    assert not configured.following.settings.upstreams.policy.no_sdists

    configured.following.apply = configured.applied.append
    configured.look_later()
    assert configured.applied[0].upstreams.policy.no_sdists


# What needs a restart


def test_settings_that_need_a_restart_are_named_once(configured, logged):
    text = UPSTREAM + 'listen = "tcp:9"\npath = "elsewhere"\n[limits]\nthreads = 9\n'
    configured.write("no-sdists = true\n" + text)
    configured.write("no-sdists = false\n" + text)

    assert [level for level, _line in logged] == [LogLevel.info, LogLevel.warn, LogLevel.info]
    assert logged[1][1] == f"{configured.path}: these settings need a restart: limits, listen, path."
    assert [settings.listen for settings in configured.applied] == [("tcp:8080",)] * 2


RUNNING = Settings(
    upstreams=UpstreamSettings(urls=("https://example.org/",), policy=UpstreamPolicy(cooldown=5.0)),
    uploads=UploadSettings(upload=True),
    access=AccessSettings(auth=("htpasswd:/a",), trusted_proxies=("unix",)),
)


def test_policy_uploads_users_rights_and_title_hold_without_a_restart():
    wanted = replace(
        RUNNING,
        title="Packages of Acme",
        upstreams=replace(RUNNING.upstreams, policy=UpstreamPolicy(upstream_only=("a",))),
        uploads=UploadSettings(
            upload=True, max_upload=5, overwrite=("1.*",), keep_prereleases=2, on_upload=("http://a/",)
        ),
        access=AccessSettings(auth=("htpasswd:/b",), rights="/rights", trusted_proxies=("unix",)),
    )

    assert reloadable(RUNNING, wanted) == wanted


def test_all_else_stays_as_it_is():
    wanted = replace(
        RUNNING,
        paths=("/b",),
        limits=Limits(threads=2),
        upstreams=replace(RUNNING.upstreams, urls=("https://example.net/",), cache="/c", offline=True),
        access=replace(
            RUNNING.access,
            trusted_proxies=("users:unix",),
            user_header="Remote-User",
            groups_header="Remote-Groups",
            groups_separator="|",
        ),
    )

    assert reloadable(RUNNING, wanted) == RUNNING
    assert changed_settings(RUNNING, wanted) == [
        "cache",
        "groups-header",
        "groups-separator",
        "limits",
        "offline",
        "path",
        "trusted-proxy",
        "upstream",
        "user-header",
    ]


def test_a_policy_that_only_goes_with_what_needs_a_restart_waits_for_it():
    running = Settings()
    wanted = Settings(
        upstreams=UpstreamSettings(urls=("https://example.org/",), policy=UpstreamPolicy(cooldown=5.0))
    )

    assert reloadable(running, wanted) == running
    assert changed_settings(running, wanted) == ["cooldown", "upstream"]


# What clients see


def test_nothing_that_was_prepared_outlives_a_change_of_policy(tmp_path):
    configured = Configured(tmp_path)
    wheel, upstream = make_wheel("demo", "1.0"), MemorySource(make_wheel("demo", "1.0"))
    composition = SourceBuilder(MemorySource(), make_folder=str, make_upstream=lambda _urls: upstream)
    source = composition.build(configured.following.settings.upstreams)
    page, file = "/simple/demo/", f"/simple/demo/{wheel.filename}"
    with IndexInMemory(source, clock=configured.clock) as index:
        resource = index.site.resource
        resource.poll = configured.following.poll
        configured.following.apply = lambda settings: resource.serve(
            composition.build(settings.upstreams), None, settings.uploads
        )

        def statuses() -> list[int]:
            return [index.get(path).status for path in (page, page, file, file)]

        assert statuses() == [200] * 4
        for name in ("upstream-deny", "local-only"):
            configured.write(f'{UPSTREAM}{name} = ["demo"]\n')
            assert statuses() == [404] * 4
            configured.write(UPSTREAM)
            assert statuses() == [200] * 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConfiguredServer]:
    server = ConfiguredServer(tmp_path)
    yield server
    server.stop()


def test_a_policy_changes_while_clients_ask(server):
    wheel = make_wheel("demo", "1.0")
    with RunningIndex() as upstream:
        upstream.add(wheel)
        there = f'upstream = "{upstream.url}"\nupstream-mode = "proxy"\n'
        server.start(there)
        page, file = "/simple/demo/", f"/simple/demo/{wheel.filename}"
        assert [server.ask(path)[0] for path in (page, page, file, file)] == [200] * 4

        server.change(there + 'upstream-deny = ["demo"]\n')
        assert server.becomes(page, lambda answer: answer[0] == 404)
        assert [server.ask(path)[0] for path in (page, file)] == [404] * 2
        server.change(there)
        assert server.becomes(page, lambda answer: answer[0] == 200)
        assert server.ask(file) == (200, wheel.content)


def test_rights_close_an_index_that_had_none(server):
    wheel = make_wheel("demo", "1.0")
    wheel.write_to(server.folder / "packages" / "demo")
    server.start("")
    page, file = "/simple/demo/", f"/simple/demo/{wheel.filename}"
    assert [server.ask(path)[0] for path in (page, page, file, file)] == [200] * 4

    rights = server.folder / "rights.toml"
    rights.write_text('[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n')
    server.change('rights = "rights.toml"\nauth = "memory:alice:secret"\n')
    assert server.becomes(page, lambda answer: answer[0] == 401)
    assert [server.ask(path)[0] for path in (page, file, "/simple/")] == [401] * 3


def test_failed_logins_count_on_when_users_change(server):
    """Else a guess could be made as if it were the first after each change."""
    closed = 'rights = "rights.toml"\nauth = "memory:alice:secret"\n'
    (server.folder / "rights.toml").write_text('[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n')
    server.start(closed)
    found = [server.ask("/simple/", user="alice:guess")[0] for _ in range(FREE_FAILURES + 1)]
    assert found == [401] * FREE_FAILURES + [429]

    server.change(closed.replace("alice:secret", "alice:secret:bob:builder"))
    until = time.monotonic() + 20
    while server.ask("/simple/", user="bob:builder")[0] != 200:
        assert time.monotonic() < until
    assert server.ask("/simple/", user="alice:guess")[0] == 429
    assert server.ask("/simple/", user="alice:secret")[0] == 200


def _form(filename: str, content: bytes) -> bytes:
    named = f'--b\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n\r\n'
    action = b'--b\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n'
    return action + named.encode() + content + b"\r\n--b--\r\n"


def test_what_may_be_uploaded_changes_while_the_server_runs(server):
    wheel, other = make_wheel("demo", "1.0"), make_wheel("demo", "1.0", requires=["other"])
    server.start("max-upload = 100\nupload = true\nanonymous-upload = true\n")
    first, second = _form(wheel.filename, wheel.content), _form(wheel.filename, other.content)
    assert server.ask("/legacy/", first)[0] == 413

    server.change("upload = true\nanonymous-upload = true\n")
    assert server.becomes("/legacy/", lambda answer: answer[0] == 200, first)
    assert server.ask("/legacy/", second)[0] == 409
    server.change('upload = true\nanonymous-upload = true\noverwrite = "1.*"\n')
    assert server.becomes("/legacy/", lambda answer: answer[0] == 200, second)
    server.change("")
    assert server.becomes("/legacy/", lambda answer: answer[0] == 403, second)


def test_the_title_changes_while_the_server_runs(server):
    server.start('title = "One"\n')
    assert b"<h1>One</h1>" in server.ask("/")[1]
    server.change('title = "Two & two"\n')
    assert server.becomes("/", lambda answer: b"<h1>Two &amp; two</h1>" in answer[1])


def test_how_many_pre_releases_stay_changes_while_the_server_runs(server):
    new = make_wheel("demo", "1.0.dev3")
    for version in ("1.0.dev1", "1.0.dev2"):
        make_wheel("demo", version).write_to(server.folder / "packages" / "demo")
    server.start("max-upload = 100\nupload = true\nanonymous-upload = true\n")
    form = _form(new.filename, new.content)
    assert server.ask("/legacy/", form)[0] == 413

    server.change("upload = true\nanonymous-upload = true\nkeep-prereleases = 1\n")
    assert server.becomes("/legacy/", lambda answer: answer[0] == 200, form)
    assert server.becomes("/simple/demo/", lambda answer: b"dev2" not in answer[1] and b"dev3" in answer[1])


def test_uploads_are_turned_on_although_nobody_but_uploaders_asks(server):
    wheel = make_wheel("demo", "1.0")
    server.start("")
    form = _form(wheel.filename, wheel.content)
    assert server.ask("/legacy/", form)[0] == 403
    server.change("upload = true\nanonymous-upload = true\n")
    assert server.becomes("/legacy/", lambda answer: answer[0] == 200, form)


def test_an_index_without_a_file_is_not_followed(tmp_path):
    service = makeService({"path": [str(tmp_path)], "state": "none", "listen": "tcp:0:interface=127.0.0.1"})

    assert service._reloader() is None


def test_a_file_that_is_mended_to_what_it_was_is_logged(configured, logged):
    configured.write(UPSTREAM + "no-sdists = 5\n")
    configured.write(UPSTREAM)
    configured.look_later()

    assert [level for level, _line in logged] == [LogLevel.critical, LogLevel.info]
    assert logged[1][1] == f"{configured.path} is valid again."
