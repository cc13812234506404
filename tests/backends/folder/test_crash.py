"""The process may end at any moment: what is listed is whole, and what is not is gone."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.properties import examples
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.publish import Preparation
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.layout.candidate import Candidate
from twisted_index.backends.layout.change_result import ChangeResult
from twisted_index.errors import SimpleIndexError
from twisted_index.files import anonymous_file
from twisted_index.files.anonymous_file import open_anonymous, sweep
from twisted_index.interfaces import AuditEvent
from twisted_index.simple.model import ProjectStatus, Status
from twisted_index.simple.names import parse_filename
from twisted_index.testing import BuiltFile, SynchronousRunner, make_sdist, make_wheel

from .cutting import cut_after

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")

FIRST = make_wheel("demo", "1.0")
OTHER_BYTES = make_wheel("demo", "1.0", files={"demo/x.py": "x = 1\n"})
OTHER_NAME = make_wheel("Demo", "1.0", files={"demo/y.py": ""}, filename="Demo-1.0.0-py3-none-any.whl")
SDIST = make_sdist("demo", "1.0")
FILES = (FIRST, OTHER_BYTES, OTHER_NAME, SDIST)
WHOLE = {made.sha256 for made in FILES}
MARKS = (".asc", ".yanked", ".deleted")
#: More than any change needs.
ALL = 1000

changes = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(FILES)),
    st.tuples(st.sampled_from(["delete", "yank", "unyank"]), st.sampled_from(FILES)),
    st.tuples(st.just("set_status"), st.sampled_from(list(Status))),
)
cuts = st.integers(0, 30)


def publish(editor: BlockingStore, made: BuiltFile) -> None:
    """Receive and publish without a reactor, with a signature that only fits these bytes."""
    file = open_anonymous(editor.root)
    try:
        file.write(made.content)
        candidate = Candidate(
            file=file,
            distribution=parse_filename(made.filename),
            sha256=made.sha256,
            size=made.size,
            signature=made.sha256.encode(),
        )
        for step in Preparation(candidate).steps:
            step()
        publication = editor.publish(candidate)
        if publication is not None:
            publication.close()
        else:
            # An earlier upload was cut off before it had brought its signature, or ended its deletion.
            editor.complete(candidate, by="a")
    finally:
        file.close()


def change(
    editor: BlockingStore, action: str, what: BuiltFile | Status
) -> ChangeResult | list[AuditEvent] | None:
    if action == "publish":
        assert isinstance(what, BuiltFile)
        publish(editor, what)
        return None
    if isinstance(what, Status):
        return editor.set_status("demo", ProjectStatus(status=what, reason="why"), by="a")
    if action == "yank":
        return editor.yank("demo", filename=what.filename, reason="why", by="a")
    return getattr(editor, action)("demo", filename=what.filename, by="a")


def listed(root: Path) -> dict[str, str]:
    """Ask a server that has just started."""
    source = FolderSource(root, reactor=Clock(), reader=SynchronousRunner(), cache_thread=SynchronousRunner())
    page = answer(source.project_page, "demo").value
    answer(source.stop)
    return {} if page is None else {file.filename: file.hashes["sha256"] for file in page.files}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(root: Path) -> dict[str, str]:
    """Say what is listed, after a look at everything that lies there."""
    sweep(os.fsencode(root))
    lies = {path.name: path for path in root.rglob("*") if path.is_file()}
    names = {made.filename for made in FILES}
    for name, path in lies.items():
        if name in names:
            assert digest(path) in WHOLE
            signature = lies.get(f"{name}.asc")
            assert signature is None or signature.read_text() == digest(path)
        else:
            assert name.startswith(".") or name.endswith(MARKS)
            statuses = {f".{status.value}" for status in Status}
            assert path.suffix in MARKS or name == ".deleted" or name in statuses
    assert not any(path.name == ".uploads" for path in root.rglob("*"))
    page = listed(root)
    for name, sha256 in page.items():
        assert sha256 == digest(lies[name])
    # Never two files that are the same to an installer.
    assert len({parse_filename(name).identity for name in page}) == len(page)
    return page


@examples(150, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(changes, max_size=4),
    action=changes,
    calls=cuts,
    hidden=st.booleans(),
    flat=st.booleans(),
)
def test_a_change_may_be_cut_off_after_any_call_of_the_system(before, action, calls, hidden, flat):
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(anonymous_file, "_O_TMPFILE", 0 if hidden else anonymous_file._O_TMPFILE),
    ):
        root = Path(folder)
        if flat:
            SDIST.write_to(root)
        editor = BlockingStore([os.fsencode(root)], overwrite=("*",))
        for earlier in before:
            attempt(editor, *earlier)
        was = check(root)

        with cut_after(calls):
            attempt(editor, *action)
        now = check(root)

        name, what = action
        allowed = dict(was)
        if name == "publish":
            identity = parse_filename(what.filename).identity
            same = {old for old in was if parse_filename(old).identity == identity}
            assert set(was) - same <= set(now)
            # An old spelling may have the new bytes for a moment, never none.
            assert not same or any(parse_filename(new).identity == identity for new in now)
            allowed = {**was, what.filename: now.get(what.filename, "")}
            allowed.update(dict.fromkeys(same, now.get(next(iter(same), ""), "")))
        assert set(now) <= set(allowed) or name == "set_status"

        # Once more, and it is complete.
        refused = attempt(editor, *action)
        final = check(root)
        if name == "publish" and not refused:
            assert final[what.filename] == what.sha256 or what.sha256 in final.values()
        if name == "delete":
            identity = parse_filename(what.filename).identity
            assert not any(parse_filename(left).identity == identity for left in final)


def attempt(editor: BlockingStore, action: str, what: BuiltFile | Status) -> bool:
    """Make a change; say whether it was refused, which is not what this is about."""
    try:
        change(editor, action, what)
    except SimpleIndexError:
        return True
    return False


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("made", [OTHER_BYTES, OTHER_NAME])
def test_overwriting_may_be_cut_off_anywhere(tmp_path: Path, hidden: bool, made: BuiltFile):
    """Each call in turn, from the first to the last."""
    calls, done = 0, False
    while not done:
        root = tmp_path / str(calls)
        root.mkdir()
        with mock.patch.object(anonymous_file, "_O_TMPFILE", 0 if hidden else anonymous_file._O_TMPFILE):
            editor = BlockingStore([os.fsencode(root)], overwrite=("*",))
            publish(editor, FIRST)
            with cut_after(calls) as count:
                publish(editor, made)
            done = count() < calls
        page = check(root)
        assert list(page.values()) in ([FIRST.sha256], [made.sha256])
        calls += 1
    assert page == {made.filename: made.sha256}
    assert calls > 10
