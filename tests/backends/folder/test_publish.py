"""What is published, where it goes, and what is refused."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from tests.kit.folder_store import Shop
from twisted_index.backends.folder import inspection_scheduler as scheduler
from twisted_index.backends.folder import publish
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.layout.facts import FileFacts, StatKey
from twisted_index.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InsufficientStorage,
    NotFound,
    NotReady,
    Unavailable,
)
from twisted_index.interfaces import AuditEvent, AuditQuery, IAuditLog, ISpool, IStore, Upload
from twisted_index.simple.model import Sidecar
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

WHEEL = make_wheel("demo", "1.0", requires_python=">=3.9")
CHANGED = make_wheel("demo", "1.0", files={"demo/other.py": "x = 1\n"})
OTHER_SPELLING = make_wheel("Demo", "1.0", filename="Demo-1.0.0-py3-none-any.whl")


def test_it_keeps_the_contracts(shop: Shop):
    assert verifyObject(IStore, shop.store)
    assert verifyObject(IAuditLog, shop.audit_log)
    spool = answer(shop.store.spool)
    assert verifyObject(ISpool, spool)
    spool.close()


# -- Where it goes, and how it lies there


def test_a_new_file_is_in_the_very_next_answer(shop: Shop, either_way: str):
    assert shop.publish(WHEEL)

    file = shop.file(WHEEL.filename)
    assert (file.hashes["sha256"], file.size, file.requires_python) == (WHEEL.sha256, WHEEL.size, ">=3.9")
    assert file.core_metadata is not None
    assert shop.read(WHEEL.filename) == WHEEL.content
    assert shop.tree() == [f"demo/{WHEEL.filename}"]


def test_what_was_just_looked_at_is_looked_at_again(shop: Shop):
    assert shop.page() is None
    shop.publish(WHEEL)
    shop.publish(make_sdist("demo", "1.1"))
    assert len(shop.files()) == 2


def test_the_source_does_not_read_the_file_again(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the file was read once more")

    monkeypatch.setattr(scheduler, "inspect", refuse)
    assert shop.publish(WHEEL)
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}


def test_the_source_believes_only_what_is_said_of_the_file_as_it_is(shop: Shop):
    path = WHEEL.write_to(shop.path / "demo")
    wrong = FileFacts(sha256="0" * 64)
    key = StatKey.from_stat(path.stat())._replace(ctime_ns=1)
    answer(shop.source.seed, os.fsencode(path), key, wrong)
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}


@pytest.mark.parametrize("extension", [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar"])
def test_every_kind_of_sdist_is_taken(shop: Shop, extension: str):
    made = make_sdist("demo", "1.0", extension=extension)
    assert shop.publish(made)
    assert shop.files() == {made.filename: made.sha256}


def test_it_joins_the_projects_folder_however_that_is_spelled(shop: Shop):
    make_sdist("foo-bar", "0.9").write_to(shop.path / "Foo_Bar")
    shop.publish(make_wheel("foo.bar", "1.0"))
    assert shop.tree() == ["Foo_Bar/foo_bar-0.9.tar.gz", "Foo_Bar/foo_bar-1.0-py3-none-any.whl"]


def test_it_joins_files_that_lie_flat(shop: Shop):
    make_sdist("demo", "0.9").write_to(shop.path)
    shop.publish(WHEEL)
    assert shop.tree() == ["demo-0.9.tar.gz", WHEEL.filename]


def test_it_goes_into_the_first_root(tmp_path: Path, open_shop):
    make_sdist("demo", "0.9").write_to(tmp_path / "second")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    shop.publish(WHEEL)
    assert shop.tree() == [f"demo/{WHEEL.filename}"]
    assert len(shop.files()) == 2


def test_everyone_may_read_it_whatever_the_umask(shop: Shop, narrow_umask: None, either_way: str):
    shop.publish(WHEEL, signature=b"signed")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in shop.path.rglob("*")}
    assert modes == {"demo": 0o755, WHEEL.filename: 0o644, f"{WHEEL.filename}.asc": 0o644}


def test_the_group_of_a_shared_folder_may_write_what_is_published(
    shop: Shop, narrow_umask: None, either_way: str
):
    shop.path.chmod(0o2775)
    shop.publish(WHEEL)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in shop.path.rglob("*")}
    assert modes == {"demo": 0o2775, WHEEL.filename: 0o664}


def test_no_group_may_write_where_files_get_that_of_the_server(shop: Shop, either_way: str):
    """Without setgid it is any group that the server happens to have."""
    shop.path.chmod(0o775)
    shop.publish(WHEEL)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in shop.path.rglob("*")}
    assert modes == {"demo": 0o755, WHEEL.filename: 0o644}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives things away")
def test_what_root_publishes_and_deletes_belongs_to_the_owner_of_the_folder(shop: Shop, either_way: str):
    os.chown(shop.path, 12345, 12346)
    shop.publish(WHEEL)
    shop.publish(make_wheel("demo", "1.1"))
    shop.do("yank", "demo", version="1.1", reason="broken")
    shop.do("delete", "demo", WHEEL.filename)

    assert ".deleted" in {path.name for path in shop.path.rglob("*")}
    for path in shop.path.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_signature_lies_beside_it(shop: Shop):
    shop.publish(WHEEL, signature=b"signed")
    assert shop.read(WHEEL.filename, Sidecar.SIGNATURE) == b"signed"


def test_a_signature_that_is_lacking_comes_with_the_same_file_again(shop: Shop):
    """As after a sudden end between the two, of which the client knows only that no answer came."""
    shop.publish(WHEEL)
    assert shop.publish(WHEEL, signature=b"signed", by="alice") is False
    assert shop.read(WHEEL.filename, Sidecar.SIGNATURE) == b"signed"
    assert shop.events()[1:] == [("alice", "upload", WHEEL.filename)]


def test_a_signature_that_is_there_stays(shop: Shop):
    shop.publish(WHEEL, signature=b"signed")
    assert shop.publish(WHEEL, signature=b"signed again") is False
    assert shop.publish(WHEEL) is False
    assert shop.read(WHEEL.filename, Sidecar.SIGNATURE) == b"signed"
    assert len(shop.events()) == 1


def test_no_signature_goes_to_a_folder_that_takes_no_uploads(tmp_path: Path, open_shop):
    WHEEL.write_to(tmp_path / "second")
    shop = open_shop(tmp_path / "first", tmp_path / "second")
    assert shop.publish(WHEEL, signature=b"signed") is False
    assert [path.name for path in (tmp_path / "second").iterdir()] == [WHEEL.filename]
    assert shop.tree() == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system is at hand")
def test_a_project_may_lie_on_another_disk(shop: Shop, either_way: str, request: pytest.FixtureRequest):
    elsewhere = Path("/dev/shm") / f"twisted-index-{os.getpid()}-{either_way}"
    elsewhere.mkdir()
    request.addfinalizer(lambda: [*map(os.unlink, elsewhere.iterdir()), elsewhere.rmdir()])
    (shop.path / "demo").symlink_to(elsewhere)

    assert shop.publish(WHEEL, signature=b"signed")
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}
    assert sorted(path.name for path in elsewhere.iterdir()) == [WHEEL.filename, f"{WHEEL.filename}.asc"]


# -- What is there already


@pytest.mark.parametrize(
    "same", [WHEEL, make_wheel("demo", "1.0", requires_python=">=3.9", filename=OTHER_SPELLING.filename)]
)
def test_the_same_bytes_once_more_change_nothing(shop: Shop, same):
    shop.publish(WHEEL)
    assert shop.publish(same) is False
    assert shop.tree() == [f"demo/{WHEEL.filename}"]
    assert len(shop.events()) == 1


@pytest.mark.parametrize("other", [CHANGED, OTHER_SPELLING])
def test_other_bytes_are_refused(shop: Shop, other):
    shop.publish(WHEEL)
    with pytest.raises(Conflict, match=r"^File already exists: .*upload a new version") as caught:
        shop.publish(other)
    assert other.filename in caught.value.message
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}


def test_another_root_counts_as_well(tmp_path: Path, open_shop):
    WHEEL.write_to(tmp_path / "second")
    shop = open_shop(tmp_path / "first", tmp_path / "second", overwrite=("*",))
    assert shop.publish(WHEEL) is False
    with pytest.raises(Conflict, match=r"^File already exists"):
        shop.publish(CHANGED)
    assert shop.tree() == []


def test_a_file_that_cannot_be_listed_keeps_its_name(shop: Shop):
    (shop.path / "demo").mkdir()
    (shop.path / "demo" / WHEEL.filename).write_bytes(b"half a wh")
    with pytest.raises(Conflict, match=r"^File already exists"):
        shop.publish(WHEEL)


def test_a_name_that_is_no_file_is_taken_too(shop: Shop):
    (shop.path / "demo" / WHEEL.filename).mkdir(parents=True)
    with pytest.raises(Conflict, match=r"^File already exists"):
        shop.publish(WHEEL)


@pytest.mark.parametrize("name", [WHEEL.filename, OTHER_SPELLING.filename])
def test_the_name_of_a_deleted_file_stays_taken(shop: Shop, name: str):
    (shop.path / "demo").mkdir()
    (shop.path / "demo" / f"{name}.deleted").write_text("")
    with pytest.raises(Conflict, match=r"^File already exists: .* was deleted, and its name stays taken"):
        shop.publish(WHEEL)


# -- Overwriting


@pytest.mark.parametrize("pattern", ["1.*", "demo==1.0", "*"])
def test_a_version_that_may_be_overwritten_gets_other_bytes(
    tmp_path: Path, open_shop, pattern: str, either_way
):
    shop = open_shop(tmp_path / "packages", overwrite=(pattern,))
    shop.publish(WHEEL, signature=b"of the old one")
    reader = answer(shop.source.open_file, "demo", WHEEL.filename).content

    assert shop.publish(CHANGED)

    assert shop.files() == {WHEEL.filename: CHANGED.sha256}
    assert shop.tree() == [f"demo/{WHEEL.filename}"]
    with reader:
        assert reader.read() == WHEEL.content
    assert [event[1] for event in shop.events()] == ["upload", "overwrite"]


def test_a_pattern_of_another_version_overwrites_nothing(tmp_path: Path, open_shop):
    shop = open_shop(tmp_path / "packages", overwrite=("*.dev*", "other==*"))
    shop.publish(WHEEL)
    with pytest.raises(Conflict):
        shop.publish(CHANGED)


def test_overwriting_may_change_the_spelling(tmp_path: Path, open_shop):
    shop = open_shop(tmp_path / "packages", overwrite=("*",))
    shop.publish(WHEEL)
    shop.do("yank", "demo", filename=WHEEL.filename, reason="why")
    shop.publish(OTHER_SPELLING)
    assert shop.files() == {OTHER_SPELLING.filename: OTHER_SPELLING.sha256}
    assert shop.tree() == [f"demo/{OTHER_SPELLING.filename}", f"demo/{OTHER_SPELLING.filename}.yanked"]


def test_overwriting_leaves_deleted_names_alone(tmp_path: Path, open_shop):
    shop = open_shop(tmp_path / "packages", overwrite=("*",))
    shop.publish(WHEEL)
    shop.do("delete", "demo", WHEEL.filename)
    with pytest.raises(Conflict, match="stays taken"):
        shop.publish(CHANGED)


# -- What is refused, and leaves nothing


@pytest.mark.parametrize(
    "made",
    [
        make_wheel("other", "1.0", filename=WHEEL.filename),
        make_wheel("demo", "2.0", filename=WHEEL.filename),
        make_sdist("demo", "1.0", metadata="no headers"),
        make_wheel("demo", "1.0", metadata=b"Name: demo\nVersion: 1.0\nAuthor: Andr\xe9\n"),
        make_sdist("demo", "1.0", metadata=""),
        make_sdist("demo", "1.0", metadata="Name: demo\n"),
    ],
)
def test_what_contradicts_its_name_is_refused(shop: Shop, made):
    with pytest.raises(BadRequest) as caught:
        shop.publish(made)
    assert made.filename in caught.value.message
    assert str(shop.path) not in caught.value.message
    assert list(shop.path.iterdir()) == []


def linked(target: str | None) -> BuiltFile:
    """Make an sdist whose PKG-INFO is a link to another member, or is not there."""
    made = make_sdist("demo", "1.0")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        info = tarfile.TarInfo("demo-1.0/demo.egg-info/PKG-INFO")
        info.size = len(made.metadata)
        archive.addfile(info, io.BytesIO(made.metadata))
        if target is not None:
            link = tarfile.TarInfo("demo-1.0/PKG-INFO")
            link.type, link.linkname = tarfile.LNKTYPE, target
            archive.addfile(link)
    return replace(made, content=content.getvalue())


@pytest.mark.parametrize("target", [None, "demo-1.0/nowhere", "../demo-1.0/demo.egg-info/PKG-INFO"])
def test_an_sdist_without_pkg_info_is_refused_though_one_that_lies_there_is_listed(shop: Shop, target):
    with pytest.raises(BadRequest, match="holds no PKG-INFO"):
        shop.publish(linked(target))
    assert list(shop.path.iterdir()) == []


def test_a_pkg_info_that_is_a_link_to_the_same_document_is_taken(shop: Shop):
    """As tar writes the second of two names of one file, which distutils makes where it can."""
    assert shop.publish(linked("demo-1.0/demo.egg-info/PKG-INFO"))


def test_a_damaged_member_is_found(shop: Shop):
    made = make_wheel("demo", "1.0", files={"demo/a.py": b"a" * 5000}, compress=False)
    broken = made.content.replace(b"aaaa", b"abaa", 1)
    spool = answer(shop.store.spool)
    answer(spool.write, broken)
    upload = as_upload(spool, made.filename)
    with pytest.raises(BadRequest):
        answer(shop.store.publish, upload)
    assert list(shop.path.iterdir()) == []


def as_upload(spool, filename):
    return Upload(spool=spool, filename=filename)


@pytest.mark.parametrize("status", ["archived", "quarantined"])
def test_a_closed_project_takes_nothing(shop: Shop, status: str):
    (shop.path / "demo").mkdir()
    (shop.path / "demo" / f".{status}").write_text("")
    with pytest.raises(Forbidden, match=status):
        shop.publish(WHEEL)
    assert shop.tree() == [f"demo/.{status}"]


def test_a_deprecated_project_takes_files(shop: Shop):
    (shop.path / "demo").mkdir()
    (shop.path / "demo" / ".deprecated").write_text("")
    assert shop.publish(WHEEL)


def test_whoever_may_not_make_projects_may_add_to_them(shop: Shop):
    with pytest.raises(Forbidden, match="may not create projects"):
        shop.publish(WHEEL, may_create=False)
    shop.publish(WHEEL)
    assert shop.publish(make_wheel("demo", "1.1"), may_create=False)


def test_what_a_rule_sends_elsewhere_is_refused(shop: Shop):
    """It would be accepted, and then be served to nobody."""
    shop.store._editor.routed_away = lambda project: project.startswith("de")
    with pytest.raises(Forbidden, match="configuration routes demo elsewhere"):
        shop.publish(WHEEL)
    assert shop.tree() == []
    assert shop.publish(make_wheel("other", "1.0"))


def test_what_would_not_be_listed_is_taken_back(shop: Shop, tmp_path: Path, open_shop):
    elsewhere = open_shop(tmp_path / "elsewhere")
    shop.store._source = elsewhere.source
    with pytest.raises(Unavailable, match="prevents listing it"):
        shop.publish(WHEEL, signature=b"signed")
    assert shop.tree() == []
    assert shop.events() == []


def test_others_that_have_yet_to_be_read_do_not_keep_it_out(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def not_ready(project: str) -> None:
        raise NotReady("1 of 9 files have been read.")

    with monkeypatch.context() as patched:
        patched.setattr(shop.source, "project_page", not_ready)
        assert shop.publish(WHEEL)
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}


def test_where_the_truth_cannot_be_told_nothing_is_left_half_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    def refuse(project: str) -> None:
        raise Unavailable("The package folder cannot be read right now.")

    with monkeypatch.context() as patched:
        patched.setattr(shop.source, "project_page", refuse)
        with pytest.raises(Unavailable):
            shop.publish(WHEEL, signature=b"signed")
    assert shop.tree() == []
    assert shop.publish(WHEEL)


def test_what_cannot_be_noted_is_told_and_stays(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def refuse(event: AuditEvent) -> None:
        raise Unavailable("The change was made, but could not be recorded in this server's history.")

    with monkeypatch.context() as patched:
        patched.setattr(shop.audit_log, "record", refuse)
        with pytest.raises(Unavailable, match="was made"):
            shop.publish(WHEEL)
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}
    assert shop.publish(WHEEL) is False


def test_a_step_that_fails_takes_the_file_back(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(publish, "write_atomically", full_disk)
        with pytest.raises(InsufficientStorage):
            shop.publish(WHEEL, signature=b"signed")
    assert shop.tree() == []
    assert shop.publish(WHEEL, signature=b"signed")


def test_whoever_published_is_in_the_history(shop: Shop):
    shop.publish(WHEEL, by="alice")
    assert shop.events() == [("alice", "upload", WHEEL.filename)]
    (event,) = answer(shop.audit_log.search, AuditQuery()).events
    assert event.detail == f"sha256={WHEEL.sha256}"


def test_someone_who_leaves_does_not_stop_what_has_begun(shop: Shop):
    spool = answer(shop.store.spool)
    answer(spool.write, WHEEL.content)
    publishing = shop.store.publish(as_upload(spool, WHEEL.filename))
    publishing.cancel()
    spool.close()
    assert shop.files() == {WHEEL.filename: WHEEL.sha256}


def test_an_upload_for_another_index_is_refused_and_let_go_of(shop: Shop):
    """A store publishes into its own index, and never into that of another name."""
    with pytest.raises(NotFound) as told:
        shop.publish(make_wheel("demo", "1.0"), index="dev")
    assert "dev" in told.value.message
    assert shop.tree() == []


def test_the_history_names_the_index_of_the_folders(tmp_path: Path, open_shop):
    """Every event of a store tells in which index something was done."""
    root = tmp_path / "dev"
    shop = open_shop(root, blocking_store=BlockingStore([os.fsencode(root)], index="dev"))
    made = make_wheel("demo", "1.0")
    shop.publish(made, index="dev")
    shop.do("yank", "demo", version="1.0")
    assert [event.index for event in answer(shop.audit_log.search, AuditQuery()).events] == ["dev", "dev"]


def test_a_folder_that_cannot_be_read_takes_no_upload_and_keeps_no_other_from_one(shop: Shop):
    """What was deleted from it, and what has the name, cannot be seen."""
    (shop.path / "backup").symlink_to("backup")
    with pytest.raises(Unavailable, match="The folder backup/ cannot be read right now"):
        shop.publish(make_wheel("backup", "1.0"))
    made = make_wheel("demo", "1.0")
    assert shop.publish(made)
    assert shop.files() == {made.filename: made.sha256}
