"""The changes of an index and the trees of its projects, for those who may follow it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.kit.at_once import answer
from tests.kit.rights import GuardedIndex, as_user, basic
from twisted_index.access.rights import default_rights
from twisted_index.backends.folder.source import FolderSource
from twisted_index.concurrency import in_turns
from twisted_index.events.serials import Change
from twisted_index.files.filesystems import file_clock
from twisted_index.files.stamps import StatValidator
from twisted_index.interfaces import ANONYMOUS, Action, Identity
from twisted_index.testing import Connection, SynchronousRunner, make_wheel
from twisted_index.testing.responses import ReceivedResponse
from twisted_index.web.views import changes

RIGHTS = """
[[rule]]
allow = ["follow", "operate"]
to = ["alice", "bob"]

[[rule]]
projects = "secret-*"
allow = "read"
to = "alice"
"""
OPEN, SECRET = make_wheel("open-lib", "1.0"), make_wheel("secret-lib", "1.0")
NEWER = make_wheel("open-lib", "2.0")


class Index(GuardedIndex):
    """An index over a real folder, asked by Alice unless something else is said."""

    def __init__(self, tmp_path: Path, rights: str = RIGHTS, **more: Any) -> None:
        clock = Clock()
        clock.advance(1_000_000)
        self.root = tmp_path / "packages"
        for made in (OPEN, SECRET):
            made.write_to(self.root / made.filename.split("-")[0].replace("_", "-"))
        self.folder = FolderSource(
            self.root,
            reactor=clock,
            reader=SynchronousRunner(),
            cache_thread=SynchronousRunner(),
            validator=StatValidator(monotonic=clock.seconds, wall=lambda: file_clock() + clock.seconds()),
        )
        super().__init__(tmp_path, rights, source=self.folder, clock=clock, **more)

    def ask(self, path: str, user: str = "alice", **headers: str) -> ReceivedResponse:
        return self.get(path, headers={**as_user(user), **headers})

    def changes(self, query: str = "", user: str = "alice") -> tuple[str, int, dict[str, int]]:
        """The instance, the highest serial, and that of each project."""
        response = self.ask(f"/-/changes{query}", user)
        assert response.status == 200, response.body
        head, *lines = response.body.decode().splitlines()
        rows = [line.split(" ") for line in lines]
        assert [row[2] for row in rows] == sorted(row[2] for row in rows)
        instance, highest = head.split(" ")
        return instance, int(highest), {project: int(serial) for serial, _imprint, project in rows}

    def wait(self, since: int, seconds: int = 30, user: str = "alice") -> Connection:
        connection = self.connect()
        connection.ask(f"/-/changes?since={since}&wait={seconds}", headers=as_user(user))
        return connection

    def tree(self, project: str = "open-lib") -> list[list[str]]:
        response = self.ask(f"/-/tree/{project}")
        assert response.status == 200, response.body
        return [line.split("  ") for line in response.body.decode().splitlines()]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path)
    yield index
    index.disconnect_all()
    answer(index.folder.stop)


class TestTheList:
    def test_it_has_each_project_once_by_name(self, index: Index):
        instance, highest, serials = index.changes()
        assert len(instance) == 32
        assert list(serials) == ["open-lib", "secret-lib"]
        assert highest == max(serials.values())

    def test_after_a_serial_it_has_what_has_changed(self, index: Index):
        instance, highest, _serials = index.changes()
        assert index.changes(f"?since={highest}") == (instance, highest, {})
        index.clock.advance(3)
        NEWER.write_to(index.root / "open-lib")
        _instance, later, serials = index.changes(f"?since={highest}")
        assert list(serials) == ["open-lib"]
        assert later == serials["open-lib"] > highest

    def test_by_a_known_change_that_is_closed_to_a_client_it_misses_none_that_is_not(self, index: Index):
        highest = index.changes(user="bob")[1]
        index.clock.advance(3)
        make_wheel("secret-lib", "2.0").write_to(index.root / "secret-lib")
        answer(index.folder.note_change, "secret-lib")
        NEWER.write_to(index.root / "open-lib")
        assert list(index.changes(f"?since={highest}", user="bob")[2]) == ["open-lib"]

    def test_a_removed_project_is_a_change(self, index: Index):
        _instance, highest, _serials = index.changes()
        index.clock.advance(3)
        shutil.rmtree(index.root / "open-lib")
        body = index.ask(f"/-/changes?since={highest}").body.decode()
        assert body.splitlines()[1].endswith(" - open-lib")

    def test_an_equal_list_is_304(self, index: Index):
        first = index.ask("/-/changes")
        again = index.ask("/-/changes", **{"If-None-Match": first.headers["ETag"]})
        assert again.status == 304

    def test_a_serial_that_never_was_is_410(self, index: Index):
        _instance, highest, _serials = index.changes()
        assert index.ask(f"/-/changes?since={highest + 1}").status == 410
        assert index.ask(f"/-/changes?since={highest + 1}&wait=30").status == 410

    def test_a_serial_of_a_state_that_an_older_one_has_replaced_is_410(self, index: Index):
        _instance, highest, _serials = index.changes()
        index.clock.advance(3)
        serials = index.folder.serials
        serials._kept, serials._first, serials._now = highest, 1 << 52, lambda: highest + 100
        NEWER.write_to(index.root / "open-lib")
        _instance, later, _serials = index.changes()
        assert index.changes(f"?since={highest}")[1] == later
        assert index.changes(f"?since={later}")[1] == later
        assert index.ask(f"/-/changes?since={later - 1}").status == 410
        # Bob, who may not read all, learns nothing of when that was.
        assert index.ask(f"/-/changes?since={later - 1}", "bob").status == 200

    def test_another_instance_is_410(self, index: Index):
        instance, highest, _serials = index.changes()
        assert index.ask(f"/-/changes?since={highest}&instance={instance}").status == 200
        assert index.ask(f"/-/changes?since={highest}&instance={'0' * 32}").status == 410

    @pytest.mark.parametrize("number", ["-1", "1.5", "x", "", "٣", "1" * 17])
    def test_what_is_no_number_is_400(self, index: Index, number: str):
        quoted = "".join(f"%{byte:02X}" for byte in number.encode())
        assert index.ask(f"/-/changes?since={quoted}").status == 400
        assert index.ask(f"/-/changes?wait={quoted}").status == 400

    def test_a_folder_that_cannot_be_read_is_503(self, index: Index):
        index.root.rename(index.root.with_name("away"))
        assert index.ask("/-/changes").status == 503


class TestOfAReplica:
    """Its serials are those of its primary, whatever lies in its folder."""

    @pytest.fixture
    def replica(self, index: Index) -> Index:
        index.folder.serials.follow("c" * 32)
        index.folder.serials.adopt("open-lib", Change(7, "1" * 32))
        return index

    def test_the_list_has_what_was_adopted(self, replica: Index):
        assert replica.changes() == ("c" * 32, 7, {"open-lib": 7})
        shutil.rmtree(replica.root / "open-lib")
        replica.clock.advance(3)
        assert replica.changes() == ("c" * 32, 7, {"open-lib": 7})

    def test_a_client_that_waits_gets_what_is_adopted_next(self, replica: Index):
        waiting = replica.wait(7)
        NEWER.write_to(replica.root / "open-lib")
        replica.clock.advance(9)
        assert waiting.received == b""
        replica.folder.serials.adopt("secret-lib", Change(9, "2" * 32))
        replica.folder.serials.announce()
        replica.settle()
        (response,) = waiting.responses()
        assert response.body.decode().splitlines()[1:] == [f"9 {'2' * 32} secret-lib"]


class TestWaiting:
    def test_what_has_changed_already_is_answered_at_once(self, index: Index):
        _instance, _highest, serials = index.changes()
        connection = index.wait(min(serials.values()))
        assert connection.responses()[0].status == 200

    def test_a_change_by_hand_ends_it_after_the_time_for_looking(self, index: Index):
        connection = index.wait(index.changes()[1])
        assert connection.received == b""
        NEWER.write_to(index.root / "open-lib")
        index.advance(3)
        assert connection.responses()[0].body.endswith(b" open-lib\n")

    def test_a_change_through_the_server_ends_it_at_once(self, index: Index):
        connection = index.wait(index.changes()[1])
        NEWER.write_to(index.root / "open-lib")
        answer(index.folder.note_change, "open-lib")
        index.settle()
        assert connection.responses()[0].body.endswith(b" open-lib\n")

    def test_without_a_change_it_is_304_after_the_time(self, index: Index):
        connection = index.wait(index.changes()[1], 30)
        index.advance(29)
        assert connection.received == b""
        index.advance(1)
        assert connection.responses()[0].status == 304

    def test_nothing_is_planned_when_the_last_client_has_left(self, index: Index):
        highest = index.changes()[1]
        planned = len(index.clock.getDelayedCalls())
        connections = [index.wait(highest) for _ in range(3)]
        for connection in connections:
            connection.disconnect()
        index.advance(2)
        assert len(index.clock.getDelayedCalls()) == planned

    def test_a_client_that_sends_no_more_is_answered_at_once_and_keeps_no_place(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ):
        """One that has closed its connection, directly or behind a proxy, looks like that."""
        monkeypatch.setattr(changes, "MAX_WAITING", 1)
        highest = index.changes()[1]
        connection = index.wait(highest)
        connection.half_close()
        assert connection.responses()[0].status == 304
        assert connection.closed
        assert index.wait(highest).received == b""

    def test_one_sweep_serves_all_who_wait(self, index: Index, monkeypatch: pytest.MonkeyPatch):
        highest = index.changes()[1]
        sweeps: list[float] = []
        sweep = index.folder._sweep.run
        monkeypatch.setattr(
            index.folder._sweep, "run", lambda *args: sweeps.append(index.clock.seconds()) or sweep(*args)
        )
        for _ in range(20):
            index.wait(highest)
        index.advance(20)
        assert len(sweeps) <= 10

    def test_sweeps_for_those_who_wait_take_a_tenth_of_the_time_at_most(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ):
        began: list[float] = []
        sweep = index.folder._sweep.run

        def take_half_a_second(*args: Any) -> Any:
            began.append(index.clock.seconds())
            index.clock.rightNow += 0.5
            return sweep(*args)

        highest = index.changes()[1]
        monkeypatch.setattr(index.folder._sweep, "run", take_half_a_second)
        index.clock.advance(3)
        index.wait(highest, seconds=60)
        index.advance(40)
        assert len(began) > 3
        assert all(later - earlier >= 5 for earlier, later in pairwise(began[1:]))

    def test_who_waits_hears_of_an_upload_without_a_sweep(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ):
        """A sweep of thousands of projects takes its time."""
        highest = index.changes()[1]
        connection = index.wait(highest)
        index.clock.advance(0.9)
        monkeypatch.setattr(index.folder._sweep, "run", lambda *_args: pytest.fail("There was a sweep."))
        index.clock.rightNow += 3
        NEWER.write_to(index.root / "open-lib")
        answer(index.folder.note_change, "open-lib")
        index.settle()
        assert connection.responses()[0].body.decode().splitlines()[1:] == [
            f"{index.folder.serials.serial_of('open-lib')}"
            f" {index.folder.serials.read().changes['open-lib'].imprint} open-lib"
        ]

    def test_so_many_may_wait_and_one_more_may_not(self, index: Index, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(changes, "MAX_WAITING", 3)
        highest = index.changes()[1]
        waiting = [index.wait(highest) for _ in range(3)]
        assert index.wait(highest).responses()[0].status == 503
        waiting[0].disconnect()
        assert index.wait(highest).received == b""

    def test_a_stop_ends_it(self, index: Index):
        connection = index.wait(index.changes()[1])
        index.resource.stop_waiting()
        index.settle()
        assert connection.responses()[0].status == 304

    def test_a_change_of_what_the_client_may_not_read_does_not_end_it(self, index: Index):
        connection = index.wait(index.changes(user="bob")[1], user="bob")
        make_wheel("secret-lib", "2.0").write_to(index.root / "secret-lib")
        index.advance(10)
        assert connection.received == b""


class TestRights:
    @pytest.mark.parametrize(
        "path", ["/-/changes", "/-/tree/open-lib", "/-/tree/no-such", "/-/changes?since=x"]
    )
    def test_visitors_and_other_users_may_not_follow(self, index: Index, path: str):
        assert index.get(path).status == 401
        assert index.ask(path, "carol").status == 403

    def test_a_closed_project_is_not_shown(self, index: Index):
        _instance, highest, serials = index.changes(user="bob")
        assert list(serials) == ["open-lib"]
        assert highest == serials["open-lib"]
        assert index.ask("/-/tree/secret-lib", "bob").status == 403
        assert index.ask("/-/tree/secret-none", "bob").status == 403

    def test_the_list_of_projects_does_not_tell_of_changes_of_closed_ones(self, index: Index):
        """Neither by its highest serial nor by its ETag."""
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        first = index.ask("/simple/", "bob", **accept)
        index.clock.advance(3)
        make_wheel("secret-lib", "2.0").write_to(index.root / "secret-lib")
        again = index.ask("/simple/", "bob", **accept)
        assert (again.body, again.headers["ETag"]) == (first.body, first.headers["ETag"])
        assert again.headers["X-PyPI-Last-Serial"] == first.headers["X-PyPI-Last-Serial"]

    def test_rights_to_very_many_projects_are_looked_up_in_turns(
        self, index: Index, monkeypatch: pytest.MonkeyPatch
    ):
        """Those to ten thousand closed ones would keep all other clients waiting for half a second."""
        for number in range(1000):
            (index.root / f"secret-{number}").mkdir()
            (index.root / f"secret-{number}" / ".claimed").touch()
        index.changes()
        index.set_rights(RIGHTS)
        asked, turns = list[str](), [0]
        permits, clock = index.access.permits, index.clock

        def slowly(identity: Identity, action: Action, project: str = "", *, index: str = "") -> bool:
            asked.append(project)
            clock.rightNow += 9e-6
            return permits(identity, action, project, index=index)

        def turn(clock: Clock, seconds: float) -> Deferred[None]:
            turns.append(len(asked))
            return deferLater(clock, seconds)

        monkeypatch.setattr(index.access, "permits", slowly)
        monkeypatch.setattr(in_turns, "deferLater", turn)
        assert list(index.changes(user="bob")[2]) == ["open-lib"]
        assert max(later - earlier for earlier, later in pairwise([*turns, len(asked)])) < 300

    def test_no_serial_tells_when_a_closed_project_changed(self, index: Index):
        """Above what the client may know of, every number is one that never was."""
        highest = index.changes(user="bob")[1]
        index.clock.advance(3)
        make_wheel("secret-lib", "2.0").write_to(index.root / "secret-lib")
        newest = index.changes()[1]
        assert newest > highest
        for since in (highest + 1, newest, newest + 1):
            assert index.ask(f"/-/changes?since={since}", "bob").status == 410
        assert index.ask(f"/-/changes?since={highest}&wait=0", "bob").status == 200

    def test_a_token_follows_if_it_was_made_for_that(self, index: Index):
        for name, permissions, status in (
            ("ci", {Action.READ: ("*",)}, 403),
            ("m", {Action.FOLLOW: ("*",)}, 200),
        ):
            _token, secret = index.tokens.create(name, permissions)
            headers = {"Authorization": basic("__token__", secret)}
            assert index.get("/-/changes", headers=headers).status == status

    def test_the_answers_are_for_one_client_only(self, index: Index):
        assert "private" in index.ask("/-/changes").headers["Cache-Control"]
        assert "private" in index.ask("/-/tree/open-lib").headers["Cache-Control"]

    def test_without_a_file_of_rights_users_may_and_visitors_may_not(self):
        rights = default_rights()
        assert rights.permits(Identity(user="alice"), Action.FOLLOW)
        assert not rights.permits(ANONYMOUS, Action.FOLLOW)

    def test_the_list_of_pages_names_it_to_those_who_may(self, index: Index):
        assert "changes" in index.ask("/-/").body.decode()
        assert "changes" not in index.ask("/-/", "carol").body.decode()


class TestTheTree:
    def test_a_file_has_its_digest_size_and_time(self, index: Index):
        [[digest, size, time, name]] = index.tree()
        assert (digest, int(size), name) == (OPEN.sha256, len(OPEN.content), OPEN.filename)
        assert time.endswith("Z")

    def test_sidecars_and_statuses_have_their_text(self, index: Index):
        folder = index.root / "open-lib"
        (folder / f"{OPEN.filename}.yanked").write_text("broken\n")
        (folder / f"{OPEN.filename}.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
        (folder / ".archived").write_text("use other-lib")
        lines = {line[3]: line for line in index.tree()}
        assert lines[f"{OPEN.filename}.yanked"][4] == "broken"
        assert lines[f"{OPEN.filename}.yanked"][0] == hashlib.sha256(b"broken\n").hexdigest()
        assert lines[".archived"][4] == "use other-lib"
        assert len(lines[f"{OPEN.filename}.asc"]) == 4

    def test_a_claim_is_no_line(self, index: Index):
        (index.root / "open-lib" / ".claimed").touch()
        assert [line[3] for line in index.tree()] == [OPEN.filename]

    def test_a_file_that_is_not_listed_has_no_digest(self, index: Index):
        (index.root / "open-lib" / NEWER.filename).write_bytes(NEWER.content[:-100])
        lines = {line[3]: line for line in index.tree()}
        assert lines[NEWER.filename][0] == "-"
        assert lines[NEWER.filename][4] == "not listed"

    def test_a_deleted_file_is_a_line_of_its_own(self, index: Index):
        line = f"{NEWER.sha256}  12  2026-01-02T03:04:05Z  {NEWER.filename}  by alice: broken\n"
        (index.root / "open-lib" / ".deleted").write_text(f"# names\n{line}")
        assert index.tree()[1] == [
            NEWER.sha256,
            "12",
            "2026-01-02T03:04:05Z",
            NEWER.filename,
            "deleted by alice: broken",
        ]

    def test_what_is_not_there_is_404(self, index: Index):
        assert index.ask("/-/tree/no-such").status == 404

    def test_a_name_in_another_spelling_leads_to_the_right_one(self, index: Index):
        response = index.ask("/-/tree/Open_Lib")
        assert (response.status, response.headers["Location"]) == (301, "open-lib")

    def test_the_tree_of_all_leads_to_the_changes(self, index: Index):
        assert index.ask("/-/tree/").headers["Location"] == "../changes"
