"""What two servers have that both took changes is put together in one folder."""

import hashlib
import os

import pytest

from tests.kit.join_servers import NOW, FolderPrimary, join, tree
from twisted_index.backends.folder.conflicts import read_conflicts
from twisted_index.backends.folder.kept_files import lives_in
from twisted_index.backends.folder.misplaced import find_misplaced
from twisted_index.backends.folder.root_scan import read_root
from twisted_index.errors import Conflict
from twisted_index.files.stamps import StatValidator
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.join import do_they_win, stand_back
from twisted_index.replication.peers import PeerAnswer
from twisted_index.replication.state_file import ReplicationState, Role, StateFile

WHEEL, SDIST = "acme-1.0-py3-none-any.whl", "acme-1.0.tar.gz"
OLD = 1_600_000_000_123_456_789


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def there(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def put(root, path, content=b"x", time=OLD):
    """Write a file with a time; give its path."""
    file = root / path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    os.utime(file, ns=(time, time))
    return file


def buried(name, content, *, known=True):
    """Give the line of a deleted file."""
    digest = sha256(content) if known else "-"
    return f"{digest}  {len(content)}  2026-10-01T00:00:00Z  {name}  by ann\n".encode()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def conflicts(root):
    """Give what is recorded of conflicts: path, what was kept, what was set aside, and whose that was."""
    return [
        (one.path, one.kept, one.aside, one.kept_from, one.aside_from)
        for one in read_conflicts(os.fsencode(root))
    ]


def once(root):
    """Give all files but what was set aside; a deletion that was gone on with may be noted twice."""
    return {path: set(content.splitlines()) for path, content in tree(root).items()}


def aside(root):
    """Give the contents of what was set aside, by name."""
    return {path.name: path.read_bytes() for path in sorted((root / ".conflicts").glob("*/*"))}


def problems(root):
    reading = read_root(os.fsencode(root), StatValidator(trusts_times=True), None)
    return find_misplaced([reading])


def test_missing_files_are_taken_with_their_times(here, there):
    put(here, f"acme/{SDIST}")
    put(there, f"acme/{WHEEL}", b"wheel")
    put(there, "Zoo-1.0.zip", b"flat")
    report, said = join(here, there, they_win=True)
    assert tree(here) == {f"acme/{SDIST}": b"x", f"acme/{WHEEL}": b"wheel", "Zoo-1.0.zip": b"flat"}
    assert (here / "acme" / WHEEL).stat().st_mtime_ns == OLD
    assert sorted(report.taken) == ["Zoo-1.0.zip", f"acme/{WHEEL}"]
    assert f"+ acme/{WHEEL}" in said
    assert (report.conflicts, report.failures) == (0, {})


def test_a_file_comes_into_the_folder_that_the_project_has_here(here, there):
    put(here, f"Acme/{SDIST}")
    put(there, f"acme/{WHEEL}", b"wheel")
    put(there, f"acme/{SDIST}.yanked", b"bad")
    join(here, there, they_win=True)
    assert tree(here) == {f"Acme/{SDIST}": b"x", f"Acme/{WHEEL}": b"wheel", f"Acme/{SDIST}.yanked": b"bad"}


def test_a_flat_project_stays_flat_and_its_status_gets_a_folder(here, there):
    put(here, SDIST)
    put(there, f"acme/{WHEEL}", b"wheel")
    put(there, "acme/.archived", b"")
    join(here, there, they_win=True)
    assert tree(here) == {SDIST: b"x", WHEEL: b"wheel", "acme/.archived": b""}


@pytest.mark.parametrize("they_win", [True, False])
def test_marks_of_both_servers_apply(here, there, they_win):
    for root in (here, there):
        put(root, f"acme/{SDIST}")
    put(here, "acme/.archived")
    put(there, "acme/.quarantined", b"stolen")
    put(there, f"acme/{SDIST}.yanked", b"bad")
    put(there, "acme/.claimed", b"")
    join(here, there, they_win=they_win)
    assert set(tree(here)) == {
        f"acme/{name}" for name in (SDIST, ".archived", ".quarantined", ".claimed", f"{SDIST}.yanked")
    }


def test_a_yank_is_there_before_its_file(here, there):
    put(there, f"acme/{SDIST}")
    put(there, f"acme/{SDIST}.yanked", b"bad")
    put(there, "acme/.quarantined")
    seen = []

    def step(work):
        work()
        names = set(os.listdir(here / "acme")) if (here / "acme").exists() else set()
        seen.append(SDIST in names and not names >= {".quarantined", f"{SDIST}.yanked"})

    join(here, there, they_win=True, step=step)
    assert not any(seen)


def test_spellings_of_one_file_are_one_file(here, there):
    put(here, "acme/acme-1.0.tar.gz")
    put(there, "acme/Acme-1.0.0.tar.gz")
    report, _said = join(here, there, they_win=True)
    assert list(tree(here)) == ["acme/acme-1.0.tar.gz"]
    assert (report.conflicts, report.only_here) == (0, [])


def test_the_bytes_of_the_higher_epoch_stay_when_they_are_here(here, there):
    put(here, f"acme/{SDIST}", b"ours")
    put(here, f"acme/{SDIST}.asc", b"our signature")
    put(there, f"acme/{SDIST}", b"theirs")
    put(there, f"acme/{SDIST}.asc", b"their signature")
    report, _said = join(here, there, they_win=False)
    assert tree(here) == {f"acme/{SDIST}": b"ours", f"acme/{SDIST}.asc": b"our signature"}
    assert aside(here) == {SDIST: b"theirs", f"{SDIST}.asc": b"their signature"}
    assert conflicts(here) == [
        (f"acme/{SDIST}", sha256(b"ours"), sha256(b"theirs"), "here", "https://other/")
    ]
    assert report.conflicts == 1


def test_the_bytes_of_the_higher_epoch_come_when_they_are_there(here, there):
    put(here, f"acme/{SDIST}", b"ours")
    put(here, f"acme/{SDIST}.asc", b"our signature")
    put(here, f"acme/{SDIST}.yanked", b"bad")
    put(there, f"acme/{SDIST}", b"theirs", OLD + 1)
    report, _said = join(here, there, they_win=True)
    # A signature of other bytes would be wrong, and a yank counts for the name.
    assert tree(here) == {f"acme/{SDIST}": b"theirs", f"acme/{SDIST}.yanked": b"bad"}
    assert (here / "acme" / SDIST).stat().st_mtime_ns == OLD + 1
    assert aside(here) == {SDIST: b"ours", f"{SDIST}.asc": b"our signature"}
    assert conflicts(here) == [
        (f"acme/{SDIST}", sha256(b"theirs"), sha256(b"ours"), "https://other/", "here")
    ]
    assert report.conflicts == 1


def test_two_reasons_of_one_yank_are_a_conflict(here, there):
    for root, reason in ((here, b"ours"), (there, b"theirs")):
        put(root, f"acme/{SDIST}")
        put(root, f"acme/{SDIST}.yanked", reason)
    report, _said = join(here, there, they_win=True)
    assert tree(here)[f"acme/{SDIST}.yanked"] == b"theirs"
    assert aside(here) == {f"{SDIST}.yanked": b"ours"}
    assert report.conflicts == 1


def test_a_second_join_does_nothing_and_counts_what_is_not_settled(here, there):
    put(here, f"acme/{SDIST}", b"ours")
    put(there, f"acme/{SDIST}", b"theirs")
    put(there, f"acme/{WHEEL}")
    join(here, there, they_win=False)
    before = tree(here), aside(here), conflicts(here)
    report, said = join(here, there, they_win=False)
    assert (tree(here), aside(here), conflicts(here)) == before
    assert (said, report.taken, report.conflicts) == ([], [], 1)


@pytest.mark.parametrize("they_win", [True, False])
def test_a_file_that_was_deleted_there_goes_here_with_what_is_beside_it(here, there, they_win):
    put(here, f"acme/{SDIST}", b"bad")
    put(here, f"acme/{SDIST}.asc")
    put(here, f"acme/{WHEEL}")
    put(there, "acme/.deleted", buried(SDIST, b"bad"))
    report, said = join(here, there, they_win=they_win)
    assert tree(here) == {f"acme/{WHEEL}": b"x", "acme/.deleted": buried(SDIST, b"bad")}
    assert report.removed == [f"acme/{SDIST}"]
    assert report.conflicts == 0
    assert said == [f"- acme/{SDIST}: it was deleted there"]


def test_what_was_deleted_there_is_kept_here_as_by_every_deletion(here, there):
    put(here, f"acme/{SDIST}", b"bad")
    put(here, f"acme/{SDIST}.yanked")
    put(there, "acme/.deleted", buried(SDIST, b"bad"))
    report, _said = join(here, there, they_win=True, keep_deleted=86400.0)
    assert report.removed == [f"acme/{SDIST}"]
    kept = tree(here)
    assert (kept.pop(f".deleted/acme/{SDIST}"), kept.pop(f".deleted/acme/{SDIST}.yanked")) == (b"bad", b"x")
    (life,) = lives_in(os.fsencode(here / ".deleted" / "acme"))[SDIST]
    assert (life.deleted, life.sha256) == (NOW, sha256(b"bad"))
    assert life.uploaded.timestamp() == pytest.approx(OLD / 1e9, abs=1e-5)
    assert set(kept) == {"acme/.deleted", ".deleted/acme/.kept"}


def test_what_a_snapshot_names_is_kept_too(here, there):
    put(here, f"acme/{SDIST}", b"bad")
    put(here, ".snapshots/now", f"{sha256(b'bad')}  acme/{SDIST}\n".encode())
    put(there, "acme/.deleted", buried(SDIST, b"bad"))
    join(here, there, they_win=True)
    assert tree(here)[f".deleted/acme/{SDIST}"] == b"bad"


@pytest.mark.parametrize("they_win", [True, False])
def test_a_file_that_was_deleted_here_does_not_come_back(here, there, they_win):
    put(here, "acme/.deleted", buried(SDIST, b"bad"))
    put(there, f"acme/{SDIST}", b"bad")
    put(there, f"acme/{SDIST}.yanked")
    report, _said = join(here, there, they_win=they_win)
    assert tree(here) == {"acme/.deleted": buried(SDIST, b"bad")}
    assert report.conflicts == 0


def test_tombstones_of_both_are_kept(here, there):
    put(here, "acme/.deleted", buried(SDIST, b"one"))
    put(there, "acme/.deleted", buried(WHEEL, b"two"))
    join(here, there, they_win=True)
    assert tree(here)["acme/.deleted"] == buried(SDIST, b"one") + buried(WHEEL, b"two")


def test_a_tombstone_of_other_bytes_does_not_remove_a_file_of_the_higher_epoch(here, there):
    put(here, f"acme/{SDIST}", b"ours")
    put(there, "acme/.deleted", buried(SDIST, b"theirs"))
    report, _said = join(here, there, they_win=False)
    assert tree(here) == {f"acme/{SDIST}": b"ours"}
    assert conflicts(here) == [
        (f"acme/{SDIST}", sha256(b"ours"), f"deleted/{sha256(b'theirs')}", "here", "https://other/")
    ]
    assert report.conflicts == 1


@pytest.mark.parametrize(("they_win", "known"), [(True, True), (True, False), (False, False)])
def test_a_file_whose_name_the_other_has_deleted_with_other_bytes_is_set_aside(here, there, they_win, known):
    put(here, f"acme/{SDIST}", b"ours")
    line = buried(SDIST, b"theirs", known=known)
    put(there, "acme/.deleted", line)
    report, _said = join(here, there, they_win=they_win)
    assert tree(here) == {"acme/.deleted": line}
    assert aside(here) == {SDIST: b"ours"}
    assert report.conflicts == 1


def test_a_file_of_the_higher_epoch_takes_a_name_that_was_deleted_here_with_other_bytes(here, there):
    put(here, "acme/.deleted", buried(SDIST, b"ours") + buried(WHEEL, b"w"))
    put(there, f"acme/{SDIST}", b"theirs")
    report, _said = join(here, there, they_win=True)
    assert tree(here) == {f"acme/{SDIST}": b"theirs", "acme/.deleted": buried(WHEEL, b"w")}
    assert conflicts(here) == [
        (f"acme/{SDIST}", sha256(b"theirs"), f"deleted/{sha256(b'ours')}", "https://other/", "here")
    ]
    assert report.conflicts == 1


def test_what_the_lower_epoch_has_under_a_deleted_name_is_set_aside(here, there):
    put(here, "acme/.deleted", buried(SDIST, b"ours"))
    put(there, f"acme/{SDIST}", b"theirs")
    report, _said = join(here, there, they_win=False)
    assert tree(here) == {"acme/.deleted": buried(SDIST, b"ours")}
    assert aside(here) == {SDIST: b"theirs"}
    assert report.conflicts == 1


def test_a_copy_of_an_upstream_stays_one(here, there):
    line = buried(SDIST, b"x")
    put(there, f"acme/{SDIST}")
    put(there, "acme/.copies", line)
    join(here, there, they_win=True)
    assert tree(here) == {f"acme/{SDIST}": b"x", "acme/.copies": line}


def test_what_the_other_server_lacks_is_reported(here, there):
    put(here, f"acme/{SDIST}")
    put(here, f"acme/{SDIST}.yanked")
    put(here, "acme/.deleted", buried(WHEEL, b"w"))
    put(here, "zoo/zoo-1.0.zip")
    put(there, f"acme/{SDIST}")
    report, _said = join(here, there, they_win=True)
    assert sorted(report.only_here) == sorted([f"acme/{SDIST}.yanked", WHEEL, "zoo/zoo-1.0.zip"])


def split(here, there):
    """Let two servers have a file each with other bytes, and one a file that the other has deleted."""
    put(here, f"acme/{SDIST}", b"ours")
    put(here, f"acme/{SDIST}.asc", b"signature")
    put(here, "acme/acme-2.0.zip", b"2")
    put(here, "acme/.deleted", buried(WHEEL, b"w"))
    put(there, f"acme/{SDIST}", b"theirs")
    put(there, f"acme/{WHEEL}", b"other")


@pytest.mark.parametrize("they_win", [True, False])
def test_two_servers_that_were_joined_with_each_other_are_equal(here, there, they_win):
    split(here, there)
    put(there, "acme/.archived", b"")
    put(there, "zoo/zoo-1.0.zip")
    first, second = (there, here) if they_win else (here, there)
    join(first, second, they_win=False)
    report, _said = join(second, first, they_win=True)
    assert tree(here) == tree(there)
    assert report.only_here == []
    times = [{path: (root / path).stat().st_mtime_ns for path in tree(root)} for root in (here, there)]
    assert {path: time for path, time in times[0].items() if not path.endswith(".deleted")} == {
        path: time for path, time in times[1].items() if not path.endswith(".deleted")
    }


@pytest.mark.parametrize("keep_deleted", [0.0, 86400.0])
@pytest.mark.parametrize("they_win", [True, False])
def test_a_join_that_dies_after_any_step_is_completed_by_the_next(tmp_path, they_win, keep_deleted):
    def make(name):
        here, there = tmp_path / name / "here", tmp_path / name / "there"
        here.mkdir(parents=True)
        there.mkdir()
        split(here, there)
        put(there, f"acme/{SDIST}.asc", b"other signature")
        put(there, "acme/.deleted", buried("acme-2.0.zip", b"2"))
        put(there, "acme/.copies", buried(SDIST, b"theirs"))
        put(there, "zoo/zoo-1.0.zip")
        put(there, "zoo/zoo-1.0.zip.yanked", b"bad")
        return here, there

    here, there = make("whole")
    steps = []
    join(here, there, they_win=they_win, step=lambda work: steps.append(work()), keep_deleted=keep_deleted)
    expected = once(here), aside(here), sorted(conflicts(here))
    assert len(steps) > 20

    for last in range(len(steps)):
        here, there = make(str(last))
        left = [last]

        def step(work, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            work()

        with pytest.raises(KeyboardInterrupt):
            join(here, there, they_win=they_win, step=step, keep_deleted=keep_deleted)
        found = {*tree(here).values(), *aside(here).values()}
        assert b"ours" in found
        join(here, there, they_win=they_win, keep_deleted=keep_deleted)
        assert (once(here), aside(here), sorted(conflicts(here))) == expected


class Lying(FolderPrimary):
    """Sends other bytes than it lists."""

    async def entries(self, project, *, inline=0):
        listing, _contents = await super().entries(project, inline=0)
        return listing, {}

    async def read(self, project, entry, write):
        write(b"y" * entry.size)


def test_bytes_that_are_not_those_of_the_listing_get_no_name(here, there):
    put(there, f"acme/{SDIST}")
    put(there, "zoo/zoo-1.0.zip", b"y")
    report, _said = join(here, Lying(there), they_win=True)
    assert tree(here) == {"zoo/zoo-1.0.zip": b"y"}
    assert "are not those that the primary lists" in report.failures["acme"]


@pytest.mark.parametrize(
    "path",
    [
        "../x-1.0.zip",
        "acme/../acme-1.0.zip",
        "acme/x/acme-1.0.zip",
        "other/acme-1.0.zip",
        "acme/",
        "acme/.index.toml",
        "acme/..",
        ".staged/x.list",
        "acme\\acme-1.0.zip",
        "acme/a\nb",
        "other-1.0.zip",
        ".claimed",
        "",
    ],
)
def test_a_path_that_is_none_of_the_project_is_refused(here, there, path):
    put(there, f"acme/{SDIST}")

    class Hostile(FolderPrimary):
        async def entries(self, project, *, inline=0):
            listing, _contents = await super().entries(project, inline=0)
            return listing._replace(entries=(listing.entries[0]._replace(path=path),)), {}

    report, _said = join(here, Hostile(there), they_win=True)
    assert tree(here) == {}
    assert "no entry of it" in report.failures["acme"]


def test_a_conflict_is_a_problem_until_its_line_is_removed(here, there):
    put(here, f"acme/{SDIST}", b"ours")
    put(there, f"acme/{SDIST}", b"theirs")
    join(here, there, they_win=False)
    (problem,) = problems(here)
    assert problem.path == f"acme/{SDIST}"
    assert sha256(b"ours")[:16] in problem.reason
    assert sha256(b"theirs")[:16] in problem.reason
    assert "https://other/" in problem.reason
    assert f".conflicts/{sha256(b'theirs')[:16]}/{SDIST}" in problem.advice
    (here / ".conflicts" / "list").write_bytes(b"")
    assert problems(here) == []


EPOCHS = [Epoch(number, "0f" * 16) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("role", "epoch", "their_role", "their_epoch", "expected"),
    [
        (Role.PRIMARY, 3, Role.PRIMARY, 2, False),
        (Role.PRIMARY, 2, Role.PRIMARY, 3, True),
        (Role.PRIMARY, 2, Role.REPLICA, 3, True),
        (Role.PRIMARY, 2, Role.RETIRED, 2, False),
        (Role.RETIRED, 2, Role.PRIMARY, 2, True),
        (Role.RETIRED, 3, Role.PRIMARY, 2, False),
        (Role.REPLICA, 2, Role.PRIMARY, 2, True),
        (Role.REPLICA, 2, Role.PRIMARY, 3, True),
    ],
)
def test_the_higher_epoch_counts_and_in_one_epoch_its_primary(role, epoch, their_role, their_epoch, expected):
    ours = ReplicationState(role=role, epoch=EPOCHS[epoch - 1])
    theirs = PeerAnswer(their_role, EPOCHS[their_epoch - 1], 7)
    assert do_they_win(ours, None, theirs) is expected


@pytest.mark.parametrize("theirs", ["0" * 32, "f" * 32])
def test_no_first_epoch_is_above_that_of_a_primary(theirs):
    answer = PeerAnswer(Role.REPLICA, Epoch(1, theirs), 7)
    assert not do_they_win(ReplicationState(), Epoch(1, "8" * 32), answer)
    retired = ReplicationState(role=Role.RETIRED, epoch=Epoch(1, "8" * 32))
    assert do_they_win(retired, None, PeerAnswer(Role.PRIMARY, Epoch(1, theirs), 7))


def test_of_two_servers_that_never_had_to_do_with_each_other_just_one_counts():
    low, high = Epoch(1, "0" * 32), Epoch(1, "f" * 32)
    assert do_they_win(ReplicationState(), low, PeerAnswer(Role.PRIMARY, high, 7))
    assert not do_they_win(ReplicationState(), high, PeerAnswer(Role.PRIMARY, low, 7))


def test_a_folder_without_serials_is_a_copy_and_counts_for_nothing():
    theirs = PeerAnswer(Role.PRIMARY, EPOCHS[0], 7)
    assert do_they_win(ReplicationState(), None, theirs)
    assert not do_they_win(ReplicationState(), Epoch(1, "f" * 32), theirs)


@pytest.mark.parametrize(
    ("role", "epoch", "their_role", "their_epoch"),
    [(Role.RETIRED, 2, Role.RETIRED, 2), (Role.REPLICA, 3, Role.PRIMARY, 2)],
)
def test_servers_without_a_primary_are_not_joined(role, epoch, their_role, their_epoch):
    ours = ReplicationState(role=role, epoch=EPOCHS[epoch - 1])
    with pytest.raises(Conflict):
        do_they_win(ours, None, PeerAnswer(their_role, EPOCHS[their_epoch - 1], 7))


@pytest.mark.parametrize(
    ("role", "their_role", "expected", "primary"),
    [
        (Role.PRIMARY, Role.PRIMARY, Role.RETIRED, "https://b/"),
        (Role.RETIRED, Role.REPLICA, Role.RETIRED, ""),
        (Role.REPLICA, Role.PRIMARY, Role.REPLICA, "https://b/"),
    ],
)
def test_a_server_that_has_lost_takes_no_changes_and_may_follow(role, their_role, expected, primary):
    state = StateFile(None)
    state.write(ReplicationState(role=role, epoch=EPOCHS[0]))
    stand_back(state, PeerAnswer(their_role, EPOCHS[1], 7), "https://b/")
    assert state.read() == ReplicationState(role=expected, epoch=EPOCHS[1], primary=primary)
