"""Several nodes upload one name at once, in every order, to stores that fail and write later."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.object_store.writers import Interleaved, candidate_of, make_editor
from tests.kit.memory_bucket import MemoryBucket
from tests.kit.properties import examples
from twisted_index.backends.object_store.object_editor import ObjectEditor
from twisted_index.backends.object_store.publish import PublishedObject
from twisted_index.errors import Conflict, Unavailable
from twisted_index.testing import BuiltFile
from twisted_index.testing.distributions import make_wheel

SMALL = make_wheel("demo", "1.0")
OTHER = make_wheel("demo", "1.0", files={"demo/other.py": "x = 1\n"})
_TEXT = "".join(f"x{number} = {number * 7919 % 10007}\n" for number in range(2000))
LARGE = make_wheel("demo", "1.0", files={"demo/large.py": _TEXT})
LARGER = make_wheel("demo", "1.0", files={"demo/large.py": _TEXT, "demo/y.py": "y = 1\n"})
FILES = (SMALL, OTHER, LARGE, LARGER)
#: Between the sizes of the small and of the large ones.
LIMIT = 4000
KEY = f"demo/{SMALL.filename}"


def _content(bucket: MemoryBucket) -> bytes:
    with suppress(KeyError):
        return bucket.content(KEY)
    return b""


def _race(
    bucket: MemoryBucket, files: list[BuiltFile], choose: st.DataObject
) -> tuple[list[object], set[bytes]]:
    """Upload all at once; return what came of each, and which bytes were to be seen under the name."""
    seen: set[bytes] = set()
    holding = st.sampled_from([None, "demo"])
    editors = [make_editor(bucket, one_request=LIMIT, holding=choose.draw(holding)) for _ in files]
    for editor in editors:
        assert editor.conditions
    with ExitStack() as stack:
        received = [stack.enter_context(candidate_of(file)) for file in files]
        uploads = [partial(editor.publish, file) for editor, file in zip(editors, received, strict=True)]
        race = Interleaved(bucket, list(uploads))
        race.run(lambda running: choose.draw(st.sampled_from(running)), lambda: seen.add(_content(bucket)))
    bucket.before = None
    return race.outcomes, seen - {b""}


def _winners(outcomes: list[object], files: list[BuiltFile]) -> set[bytes]:
    return {
        file.content
        for outcome, file in zip(outcomes, files, strict=True)
        if outcome is None or isinstance(outcome, PublishedObject)
    }


@given(st.lists(st.sampled_from(FILES), min_size=2, max_size=4), st.data())
@examples(150, deadline=None)
def test_of_uploads_of_one_name_exactly_one_content_wins(files: list[BuiltFile], data: st.DataObject) -> None:
    bucket = MemoryBucket()
    outcomes, seen = _race(bucket, files, data)
    losers = [one for one in outcomes if isinstance(one, Exception)]
    assert all(isinstance(one, (Conflict, Unavailable)) for one in losers)
    winners = _winners(outcomes, files)
    assert len(winners) <= 1
    assert len(seen) <= 1
    if winners:
        assert {_content(bucket)} == winners
    else:
        # All met a claim that another had begun with; the one that has it goes on when it is repeated.
        claims = [file for file in files if _is_accepted_again(bucket, file)]
        assert claims


def _is_accepted_again(bucket: MemoryBucket, file: BuiltFile) -> bool:
    """Upload a file again."""
    with candidate_of(file) as received:
        try:
            make_editor(bucket, one_request=LIMIT).publish(received)
        except Conflict:
            return False
    return _content(bucket) == file.content


@given(
    st.lists(st.sampled_from(FILES), min_size=2, max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["create", "put_file", "read", "delete", "list", "stream", "write"]),
            st.integers(0, 4),
            st.integers(1, 4),
            st.sampled_from(["none", "done", "later"]),
        ),
        max_size=3,
    ),
    st.data(),
)
@examples(150, deadline=None)
def test_a_store_that_fails_and_writes_later_makes_no_second_winner(
    files: list[BuiltFile], faults: list[tuple[str, int, int, str]], data: st.DataObject
) -> None:
    bucket = MemoryBucket()
    ready = make_editor(bucket)
    assert isinstance(ready, ObjectEditor)
    for what, skip, times, effect in faults:
        bucket.fail(what, "demo*", skip=skip, times=times, effect=effect)  # type: ignore[arg-type]
    outcomes, seen = _race(bucket, files, data)
    winners = _winners(outcomes, files)
    assert len(winners) <= 1
    bucket.mend()
    bucket.land()
    seen |= {_content(bucket)} - {b""}
    assert len(seen) <= 1
    if winners:
        assert seen == winners
    # A repeated upload learns how it stands, and one content wins.
    settled = {file.content for file in files if _is_accepted_again(bucket, file)}
    assert len(settled) == 1
    assert not winners or settled == winners


@pytest.mark.parametrize("made", [SMALL, LARGE])
def test_a_time_out_of_a_write_that_was_done_is_success(made: BuiltFile) -> None:
    bucket = MemoryBucket()
    editor = make_editor(bucket, one_request=LIMIT)
    assert editor.conditions
    bucket.fail("write", keys="demo/*", times=3, effect="done")
    with candidate_of(made) as received:
        assert editor.publish(received) is not None
    assert _content(bucket) == made.content


def test_a_store_that_cannot_be_asked_whether_it_has_written_is_unavailable() -> None:
    bucket = MemoryBucket()
    editor = make_editor(bucket)
    assert editor.conditions
    bucket.fail("create", effect="later")
    bucket.fail("read", times=100)
    with candidate_of(SMALL) as received, pytest.raises(Unavailable):
        editor.publish(received)


def test_a_store_without_conditions_takes_no_files_from_several_writers() -> None:
    bucket = MemoryBucket()
    bucket.keeps_conditions = False
    with candidate_of(SMALL) as received:
        with pytest.raises(Unavailable, match="single-writer"):
            make_editor(bucket).publish(received)
        assert make_editor(bucket, single_writer=True).publish(received) is not None
    with candidate_of(OTHER) as other, pytest.raises(Conflict):
        make_editor(bucket, single_writer=True).publish(other)
    assert _content(bucket) == SMALL.content


@pytest.mark.parametrize(("single_writer", "lists"), [(False, 2), (True, 1)])
def test_a_small_upload_is_one_write_between_two_looks(single_writer: bool, lists: int) -> None:
    bucket = MemoryBucket()
    editor = make_editor(bucket, single_writer=single_writer)
    assert editor.conditions
    bucket.forget_operations()
    with candidate_of(SMALL) as received:
        editor.publish(received)
    assert bucket.operations == {"list": lists, "write": 1}
