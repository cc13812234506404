"""What the console says of a replication, and changes of it."""

import os
from datetime import UTC, datetime

import pytest

from tests.kit.ports import free_port
from twisted_index.backends.folder.drafts import DraftFolder
from twisted_index.cli._server_state import console_user
from twisted_index.events.audit_log import AuditFile
from twisted_index.events.serials import Serials
from twisted_index.interfaces import Draft
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.folder_mark import mark_folder
from twisted_index.replication.state_file import ReplicationState, Role, StateFile
from twisted_index.testing import make_sdist

pytestmark = pytest.mark.usefixtures("without_settings")

EPOCH = Epoch(2, "0f" * 16)


@pytest.fixture
def state(tmp_path):
    """The state folder of a server."""
    path = tmp_path / "state"
    path.mkdir()
    return path


def write(state, **fields):
    StateFile(str(state)).write(ReplicationState(**fields))


def read(state):
    return StateFile(str(state)).read()


def history(state):
    events = AuditFile(str(state)).latest(10)
    assert {event.by for event in events} == {console_user()}
    return [(event.action, event.detail) for event in events]


def test_a_server_that_was_never_part_of_a_replication_is_a_primary(command, state):
    serials = Serials(str(state / "keep" / "serials"), now=lambda: 1000)
    serials.note("acme", "0" * 32)
    code, out, err = command("follow", "--state", str(state))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "role: primary",
        f"epoch: 1 {serials.read().instance}",
        "primary: this server",
        "serial: 1000",
    ]


def test_a_replica_says_whom_it_follows_and_what_waits(command, state):
    write(state, role=Role.REPLICA, epoch=EPOCH, primary="https://a.example/", restricted=True, awaiting=120)
    _code, out, _err = command("follow", "--state", str(state))
    assert out.splitlines() == [
        "role: replica",
        f"epoch: 2 {EPOCH.instance}",
        "primary: https://a.example/",
        "serial: 0",
        "restricted: yes",
        "awaiting: 120 files to be removed, by twisted-index follow --accept",
    ]


def test_a_replica_that_has_not_heard_its_primary_knows_no_restriction(command, state):
    write(state, role=Role.REPLICA, primary="https://a.example/", restricted=True)
    _code, out, _err = command("follow", "--state", str(state))
    assert "epoch: none yet" in out
    assert "restricted: not known yet" in out


def test_a_retired_server_may_not_know_who_is_the_primary(command, state):
    write(state, role=Role.RETIRED, epoch=EPOCH)
    _code, out, _err = command("follow", "--state", str(state))
    assert "primary: not known" in out


def test_the_file_of_serials_is_read_and_not_changed_while_the_server_writes_it(command, state):
    path = state / "keep" / "serials"
    serials = Serials(str(path))
    for imprint in "01":
        serials.note("acme", imprint * 32)
    with path.open("ab") as file:
        file.write(b"17645 0123")  # a line that is just being written
    before = path.read_bytes()
    _code, out, _err = command("follow", "--state", str(state))
    assert f"serial: {serials.read().highest}" in out
    assert path.read_bytes() == before


def test_removals_that_wait_are_accepted_once(command, state):
    write(state, role=Role.REPLICA, epoch=EPOCH, awaiting=120)
    code, out, _err = command("follow", "--accept", "--state", str(state))
    assert (code, out) == (0, "The replica may remove 120 files, which it does within seconds if it runs.\n")
    assert read(state).accepted == 120
    assert history(state) == [("accept", "120 files, epoch 2")]
    # What the replica does once it has removed them.
    write(state, role=Role.REPLICA, epoch=EPOCH)
    code, _out, err = command("follow", "--accept", "--state", str(state))
    assert code == 1
    assert "No removal waits" in err
    assert read(state).accepted == 0


def test_a_primary_has_nothing_to_accept(command, state):
    code, _out, err = command("follow", "--accept", "--state", str(state))
    assert code == 1
    assert "is a primary" in err


def test_a_damaged_state_is_told(command, state):
    write(state, role=Role.REPLICA)
    (state / "keep" / "replication").write_bytes(b"role queen\n")
    code, _out, err = command("follow", "--state", str(state))
    assert code == 1
    assert "keep/replication in the state folder cannot be used" in err


def test_a_replica_whose_primary_does_not_answer_takes_over(command, state):
    gone = f"http://user:secret@127.0.0.1:{free_port()}/"
    write(state, role=Role.REPLICA, epoch=EPOCH, primary=gone.replace("user:secret@", ""))
    code, out, err = command("takeover", "--state", str(state), "--replica-of", gone, "--peer", gone + "x")
    assert code == 0
    assert "is the primary now, of epoch 3" in out
    assert f"{gone.replace('user:secret@', '')} first needs twisted-index join" in out
    assert err.count("cannot be asked") == 2
    assert "secret" not in out + err
    assert (read(state).role, read(state).epoch.number) == (Role.PRIMARY, 3)
    assert history(state) == [("take-over", "epoch 2 to 3, serial 0")]


def test_a_planned_take_over_needs_the_primary(command, state):
    gone = f"http://127.0.0.1:{free_port()}/"
    write(state, role=Role.REPLICA, epoch=EPOCH, primary=gone)
    code, _out, err = command("takeover", "--planned", "--state", str(state))
    assert code == 1
    assert "leave out --planned" in err
    assert read(state).role is Role.REPLICA


def test_the_state_of_a_server_without_replication_is_not_taken_for_that_of_a_replica(command, state):
    code, _out, err = command("takeover", "--state", str(state))
    assert code == 64
    assert "the state of no replica" in err
    assert not (state / "keep").exists()


@pytest.mark.parametrize("option", ["--peer", "--replica-of"])
def test_what_is_no_url_of_a_server_is_refused(command, state, option):
    code, _out, err = command("takeover", option, "ftp://x", "--state", str(state))
    assert code == 64
    assert err.startswith(f"twisted-index: {option}: ")


def test_a_folder_is_not_joined_with_a_server_that_does_not_answer(command, state, tmp_path):
    gone = f"http://127.0.0.1:{free_port()}/"
    code, _out, err = command("join", gone, "--path", str(tmp_path), "--state", str(state))
    assert code == 1
    assert err.startswith("twisted-index: ")
    assert read(state).role is Role.PRIMARY


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ftp://x",), "http or https"),
        (("http://127.0.0.1:9/", "--path", "no-such-folder"), "There is no folder"),
        (("http://127.0.0.1:9/", "--path", "a", "--path", "b"), "one folder"),
    ],
)
def test_a_join_that_cannot_begin_says_why(command, state, words, said):
    code, _out, err = command("join", *words, "--state", str(state))
    assert code == 64
    assert said in err


@pytest.mark.parametrize("role", [Role.REPLICA, Role.RETIRED])
def test_only_the_folder_of_a_primary_is_changed_by_commands(command, state, tmp_path, role):
    file = make_sdist("acme", "1.0").write_to(tmp_path / "packages")
    write(state, role=role, epoch=EPOCH, primary="https://a.example/")
    words = ("acme==1.0", "--path", str(tmp_path / "packages"), "--state", str(state))
    code, _out, err = command("yank", *words)
    assert code == 1
    assert f"is a {role}" in err
    assert "https://a.example/" in err
    assert not file.with_name(f"{file.name}.yanked").exists()
    write(state, epoch=EPOCH)
    assert command("yank", *words)[0] == 0


@pytest.fixture
def marked(state, tmp_path):
    """The folder of a server with another state than the default one, which it has marked; with an index."""
    for path in (tmp_path / "packages", tmp_path / "indexes" / "dev", tmp_path / "indexes" / "prod"):
        make_sdist("acme", "1.0").write_to(path)
        mark_folder(os.fsencode(path), str(state), is_primary=False)
    mark_folder(os.fsencode(tmp_path / "indexes" / "dev"), str(state), is_primary=True)
    return tmp_path / "packages"


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


CHANGES = [
    ("yank", "--path", "packages", "acme==1.0"),
    ("unyank", "--path", "packages", "acme==1.0"),
    ("delete", "--path", "packages", "acme==1.0"),
    ("prune", "--path", "packages", "--keep", "1", "--finals", "--yes", "acme"),
    ("status", "--path", "packages", "acme", "archived"),
    ("yank", "--indexes", "indexes", "--index", "prod", "acme==1.0"),
    ("draft", "create", "--path", "packages", "v1"),
    ("draft", "cancel", "--path", "packages", "v1"),
    ("draft", "publish", "--path", "packages", "v1"),
    ("snapshot", "create", "--path", "packages", "now"),
    ("promote", "--indexes", "indexes", "--from", "dev", "--to", "prod", "acme==2.0"),
    ("mirror", "mirror.toml"),
    ("download", "--path", "packages", "--index-url", "http://127.0.0.1:9/simple/", "acme"),
]


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
@pytest.mark.parametrize(
    ("role", "primary", "where"),
    [
        (Role.REPLICA, "https://a.example/", "do it at the primary, https://a.example/, over HTTP"),
        (Role.RETIRED, "", "do it at the server that is the primary now, over HTTP"),
    ],
)
def test_the_folder_says_that_it_is_not_that_of_the_primary(
    command, state, marked, tmp_path, words, role, primary, where
):
    make_sdist("acme", "2.0").write_to(tmp_path / "indexes" / "dev")
    make_sdist("acme", "2.0").write_to(marked)
    DraftFolder(os.fsencode(marked)).create(
        Draft(name="v1", digest="0" * 64, by="alice", expires=datetime(2099, 1, 1, tzinfo=UTC))
    )
    (tmp_path / "mirror.toml").write_text('from = "http://127.0.0.1:9/simple/"\ninto = "packages"\n')
    write(state, role=role, epoch=EPOCH, primary=primary)
    before = tree(tmp_path)
    code, _out, err = command(*words)
    assert (code, err.count("\n")) == (1, 1)
    assert f"packages is a {role}" in err or f"prod is a {role}" in err
    assert where in err
    assert tree(tmp_path) == before


def test_what_changes_nothing_is_not_refused(command, state, marked):
    write(state, role=Role.REPLICA, epoch=EPOCH, primary="https://a.example/")
    for words in (
        ("status", "acme"),
        ("delete", "--dry-run", "acme==1.0"),
        ("prune", "--keep", "1", "--finals", "acme"),
        ("draft", "list"),
        ("snapshot", "list"),
    ):
        code, _out, err = command(*words, "--path", str(marked))
        assert (code, err) == (0, "")


def test_a_mark_that_was_left_behind_forbids_nothing(command, state, marked):
    # Of a server that has taken over while it was stopped.
    write(state, epoch=EPOCH)
    assert command("yank", "acme==1.0", "--path", str(marked))[0] == 0
    # On another machine.
    state.rename(state.with_name("moved"))
    assert command("unyank", "acme==1.0", "--path", str(marked))[0] == 0


def test_the_state_of_a_user_that_follows_forbids_changes_of_no_other_folder(
    command, state, tmp_path, monkeypatch
):
    make_sdist("acme", "1.0").write_to(tmp_path / "packages")
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    write(state, role=Role.REPLICA, epoch=EPOCH, primary="https://a.example/")
    assert command("yank", "acme==1.0", "--path", "packages")[0] == 0


def test_a_mark_whose_state_is_not_to_be_read_forbids_changes(command, state, marked):
    write(state, role=Role.REPLICA)
    (state / "keep" / "replication").write_bytes(b"role queen\n")
    code, _out, err = command("yank", "acme==1.0", "--path", str(marked))
    assert code == 1
    assert f"{marked}/.replica" in err
    assert "Run this as the user of that server" in err
