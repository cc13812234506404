"""What a primary says to its replicas: the entries of projects, their bytes, and what it is itself."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.kit.at_once import answer
from tests.kit.memory_indexes import MemoryIndexes
from tests.kit.rights import as_user
from tests.web.test_changes import NEWER, OPEN, RIGHTS, Index
from twisted_index.errors import Unavailable
from twisted_index.replication.change_gate import ChangeGate
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.simple.entry_listing import MAX_BATCH, parse_batch, parse_listing
from twisted_index.testing import IndexInMemory, MemorySource

MANAGED = """
[[rule]]
allow = ["follow", "manage"]
to = "alice"
"""
PUBLIC = """
[[rule]]
allow = ["follow"]
to = "alice"
"""


def make(tmp_path: Path, rights: str = RIGHTS, **more: Any) -> Index:
    """An index of a server that may have been through take-overs."""
    state = StateFile(str(tmp_path / "state"))
    more.setdefault("gate", ChangeGate(state, lambda: index.folder.serials.instance))
    index = Index(tmp_path, rights, replication_state=state, **more)
    return index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = make(tmp_path)
    yield index
    index.disconnect_all()
    answer(index.folder.stop)


def write(tmp_path: Path, **state: Any) -> None:
    """Let the server be something else than a primary in its first epoch."""
    StateFile(str(tmp_path / "state")).write(ReplicationState(**state))


class TestEntries:
    def test_they_are_a_listing(self, index: Index):
        response = index.ask("/-/entries/open-lib")
        listing = parse_listing(response.body)
        [entry] = listing.entries
        assert (entry.path, entry.sha256) == (f"open-lib/{OPEN.filename}", OPEN.sha256)
        assert listing.serial == index.changes()[2]["open-lib"]
        assert "private" in response.headers["Cache-Control"]
        assert "X-Index-Inline" not in response.headers

    def test_contents_come_with_them_as_far_as_the_response_says(self, index: Index):
        (index.root / "open-lib" / "large.bin").write_bytes(bytes(100_000))
        response = index.ask("/-/entries/open-lib?inline=99999999", **{"Accept-Encoding": "gzip"})
        assert response.headers["X-Index-Inline"] == "65536"
        head, _empty_line, contents = response.body.partition(b"\n\n")
        assert len(parse_listing(head + b"\n").entries) == 2
        assert contents == OPEN.content

    def test_a_long_listing_is_compressed_if_the_client_takes_that(self, index: Index):
        for number in range(20):
            (index.root / "open-lib" / f"notes-{number}.txt").write_text("")
        plain = index.ask("/-/entries/open-lib")
        packed = index.ask("/-/entries/open-lib", **{"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.body) == plain.body

    @pytest.mark.parametrize("number", ["-1", "x", "1.5", ""])
    def test_what_is_no_number_is_400(self, index: Index, number: str):
        assert index.ask(f"/-/entries/open-lib?inline={number}").status == 400

    def test_what_is_not_there_is_404(self, index: Index):
        assert index.ask("/-/entries/no-such").status == 404
        assert index.ask("/-/entries/open-lib?path=open-lib%2Fno-such").status == 404

    def test_a_name_in_another_spelling_leads_to_the_right_one(self, index: Index):
        response = index.ask("/-/entries/Open_Lib?inline=10")
        assert (response.status, response.headers["Location"]) == (301, "open-lib?inline=10")

    def test_an_index_without_serials_says_so(self):
        for path in ("/-/entries/secret-lib", "/-/replication"):
            response = IndexInMemory(MemorySource(OPEN)).get(path)
            assert response.status in (403, 404)


class TestBatch:
    def test_it_has_what_each_project_has_alone(self, index: Index):
        batch = parse_batch(index.ask("/-/entries/?inline=65536&project=open-lib&project=secret-lib").body)
        assert list(batch) == ["open-lib", "secret-lib"]
        for project, listing in batch.items():
            assert listing == index.ask(f"/-/entries/{project}?inline=65536").body

    def test_what_cannot_be_had_at_once_is_left_out(self, index: Index):
        names = ("no-such", "Open_Lib", "../open-lib", "", "open-lib", "open-lib")
        response = index.ask("/-/entries/?" + "&".join(f"project={quote(name)}" for name in names))
        assert list(parse_batch(response.body)) == ["open-lib"]

    def test_projects_come_until_their_bytes_are_too_many(self, index: Index):
        for number in range(70):
            (index.root / "open-lib" / f"{number}.bin").write_bytes(bytes(65536))
        batch = index.ask("/-/entries/?inline=65536&project=open-lib&project=secret-lib").body
        assert list(parse_batch(batch)) == ["open-lib"]

    def test_a_closed_project_is_left_out(self, index: Index):
        response = index.ask("/-/entries/?project=secret-lib&project=open-lib", "bob")
        assert list(parse_batch(response.body)) == ["open-lib"]

    @pytest.mark.parametrize("number", [0, MAX_BATCH + 1])
    def test_no_project_and_too_many_are_400(self, index: Index, number: int):
        assert index.ask("/-/entries/?inline=1" + "&project=open-lib" * number).status == 400


class TestBytes:
    def path(self, name: str = OPEN.filename) -> str:
        return f"/-/entries/open-lib?path={quote(f'open-lib/{name}', safe='')}"

    def test_a_file_has_its_digest_as_its_etag(self, index: Index):
        response = index.ask(self.path())
        assert (response.body, response.headers["ETag"]) == (OPEN.content, f'"{OPEN.sha256}"')
        assert "private" in response.headers["Cache-Control"]
        assert index.ask(self.path(), **{"If-None-Match": response.headers["ETag"]}).status == 304

    def test_a_part_of_it_can_be_had(self, index: Index):
        response = index.ask(self.path(), Range="bytes=10-")
        assert (response.status, response.body) == (206, OPEN.content[10:])

    def test_a_plus_is_a_plus(self, index: Index):
        (index.root / "open-lib" / "a+b c.txt").write_text("plus")
        assert index.ask(self.path("a+b c.txt")).body == b"plus"

    @pytest.mark.parametrize("path", ["../rights.toml", "secret-lib/secret_lib-1.0-py3-none-any.whl", ""])
    def test_nothing_else_can_be_had(self, index: Index, path: str):
        assert index.ask(f"/-/entries/open-lib?path={quote(path, safe='')}").status == 404


class TestRights:
    @pytest.mark.parametrize("query", ["", "?inline=9", "?inline=x", "?path=x"])
    def test_visitors_and_other_users_may_not_follow(self, index: Index, query: str):
        assert index.get(f"/-/entries/open-lib{query}").status == 401
        assert index.ask(f"/-/entries/open-lib{query}", "carol").status == 403

    @pytest.mark.parametrize("query", ["", "?inline=9", "?path=secret-lib%2Fx"])
    def test_a_closed_project_is_not_shown(self, index: Index, query: str):
        answers = [index.ask(f"/-/entries/{name}{query}", "bob") for name in ("secret-lib", "secret-none")]
        assert [response.status for response in answers] == [403, 403]
        assert index.ask("/-/entries/secret-lib").status == 200


class TestFields:
    def about(self, index: Index, path: str, **headers: str) -> tuple[int, str | None, str | None]:
        response = index.ask(path, **headers)
        fields = response.headers
        return response.status, fields.get("X-Index-Epoch"), fields.get("X-Index-Reading")

    def test_the_first_epoch_is_that_of_the_serials(self, index: Index):
        instance = index.changes()[0]
        assert self.about(index, "/-/changes") == (200, f"1 {instance}", "restricted")

    def test_304_has_them_too(self, index: Index):
        instance, highest, _serials = index.changes()
        etag = index.ask("/-/changes").headers["ETag"]
        expected = (304, f"1 {instance}", "restricted")
        assert self.about(index, "/-/changes", **{"If-None-Match": etag}) == expected
        connection = index.wait(highest, 5)
        index.advance(5)
        waited = connection.responses()[0]
        assert (waited.status, waited.headers["X-Index-Epoch"]) == (304, f"1 {instance}")

    def test_after_a_take_over_those_who_read_everything_learn_from_which_serials_it_goes_on(
        self, tmp_path: Path
    ):
        index = Index(tmp_path, PUBLIC)
        instance, highest, _serials = index.changes()
        assert "X-Index-Before" not in index.ask("/-/changes").headers
        index.folder.serials.lead("e" * 32)
        assert index.ask("/-/changes").headers["X-Index-Before"] == f"{instance} {highest}"

    def test_others_do_not_as_that_would_tell_when_closed_projects_changed(self, index: Index):
        index.changes()
        index.folder.serials.lead("e" * 32)
        assert "X-Index-Before" in index.ask("/-/changes").headers
        theirs = index.ask("/-/changes", "bob")
        assert (theirs.status, "X-Index-Before" in theirs.headers) == (200, False)

    def test_where_everyone_may_read_everything_nothing_is_restricted(self, tmp_path: Path):
        index = Index(tmp_path, PUBLIC)
        assert self.about(index, "/-/changes")[2] is None

    def test_an_epoch_that_was_heard_of_counts(self, index: Index, tmp_path: Path):
        write(tmp_path, epoch=Epoch(3, "a" * 32))
        assert self.about(index, "/-/changes")[1] == f"3 {'a' * 32}"

    def test_nobody_follows_a_server_that_does_not_know_its_epoch(self, index: Index, tmp_path: Path):
        write(tmp_path)
        (tmp_path / "state" / "keep" / "replication").write_text("nonsense")
        assert index.ask("/-/changes").status == 503


class TestHigherEpochs:
    def role(self, tmp_path: Path) -> Role:
        return StateFile(str(tmp_path / "state")).read().role

    def test_a_replica_that_follows_one_retires_this_server_if_it_may_let_it_hand_over(self, tmp_path: Path):
        """Two servers that both make changes would part."""
        epoch = f"2 {'c' * 32}"
        response = make(tmp_path, MANAGED).ask("/-/changes", **{"X-Index-Epoch": epoch})
        assert (response.status, response.headers["X-Index-Epoch"]) == (200, epoch)
        assert self.role(tmp_path) is Role.RETIRED

    @pytest.mark.parametrize("known", [True, False])
    def test_the_word_of_another_replica_counts_if_a_peer_confirms_it(self, tmp_path: Path, known: bool):
        """Whoever may only read would end all changes for good, by an epoch that it made up."""
        state, heard = StateFile(str(tmp_path / "state")), Epoch(2, "c" * 32)
        asked = []

        async def ask(again: bool) -> None:
            asked.append(again)
            if known:
                write(tmp_path, role=Role.RETIRED, epoch=heard)

        index = make(tmp_path, gate=ChangeGate(state, lambda: "0" * 32, ask))
        assert index.ask("/-/changes", **{"X-Index-Epoch": str(heard)}).status == 200
        assert self.role(tmp_path) is (Role.RETIRED if known else Role.PRIMARY)
        assert asked == [True]

    def test_peers_that_do_not_answer_keep_no_replica_from_following(self, tmp_path: Path):
        async def ask(_again: bool) -> None:
            raise Unavailable("None of them answers.")

        gate = ChangeGate(StateFile(str(tmp_path / "state")), lambda: "0" * 32, ask)
        index = make(tmp_path, gate=gate)
        assert index.ask("/-/changes", **{"X-Index-Epoch": f"2 {'c' * 32}"}).status == 200
        assert self.role(tmp_path) is Role.PRIMARY

    def test_an_equal_or_a_lower_one_and_what_is_none_do_not(self, tmp_path: Path):
        index = make(tmp_path, MANAGED)
        assert index.ask("/-/changes", **{"X-Index-Epoch": f"1 {'f' * 32}"}).status == 200
        assert self.role(tmp_path) is Role.PRIMARY
        write(tmp_path, epoch=Epoch(3, "c" * 32))
        for told in (
            f"3 {'c' * 32}",
            f"3 {'b' * 32}",
            f"2 {'f' * 32}",
            "4",
            "nonsense",
            f"999999999 {'f' * 32}",
        ):
            assert index.ask("/-/changes", **{"X-Index-Epoch": told}).status == 200
        assert self.role(tmp_path) is Role.PRIMARY

    @pytest.mark.parametrize("user", ["", "carol"])
    def test_only_those_who_may_follow_are_heard(self, index: Index, tmp_path: Path, user: str):
        fields = {"X-Index-Epoch": f"9 {'c' * 32}"} | (as_user(user) if user else {})
        assert index.get("/-/changes", headers=fields).status in (401, 403)
        assert self.role(tmp_path) is Role.PRIMARY

    def test_whoever_may_follow_one_index_only_retires_no_server(self, tmp_path: Path):
        indexes = MemoryIndexes()
        index = make(tmp_path, MANAGED + 'indexes = "dev"\n', indexes=indexes)
        indexes.set(index.folder, "dev")
        assert index.ask("/+dev/-/changes", **{"X-Index-Epoch": f"9 {'c' * 32}"}).status == 200
        assert self.role(tmp_path) is Role.PRIMARY


class TestReplication:
    def state(self, index: Index, **headers: str) -> dict[str, Any]:
        response = index.get("/-/replication", headers=headers)
        assert response.status == 200
        document: dict[str, Any] = json.loads(response.body)
        return document

    def test_it_has_the_role_the_epoch_and_the_highest_serial(self, tmp_path: Path):
        index = make(tmp_path, PUBLIC)
        instance, highest, _serials = index.changes()
        assert self.state(index) == {"role": "primary", "epoch": [1, instance], "serial": highest}
        write(tmp_path, role=Role.RETIRED, epoch=Epoch(2, "b" * 32))
        assert self.state(index) == {"role": "retired", "epoch": [2, "b" * 32], "serial": highest}

    def test_a_stranger_lets_no_project_be_looked_at(self, index: Index, monkeypatch: pytest.MonkeyPatch):
        """Of a hundred thousand closed ones, that would keep all others waiting for a second."""
        asked = list[str]()
        index.changes()

        def permits(_identity: object, _action: object, project: str = "", index: str = "") -> bool:
            asked.append(project)
            return False

        monkeypatch.setattr(index.access, "permits", permits)
        assert self.state(index)["serial"] == 0
        assert not any(asked)

    def test_it_does_not_tell_when_a_closed_project_changed(self, index: Index):
        """Each client gets the highest serial that it may know of."""
        _instance, highest, serials = index.changes()
        bob = as_user("bob")
        assert self.state(index, **bob)["serial"] == serials["open-lib"]
        index.clock.advance(3)
        NEWER.write_to(index.root / "secret-lib")
        index.changes()
        assert self.state(index, **bob)["serial"] == serials["open-lib"]
        assert index.changes()[1] > highest
