"""The audit log: appended, never changed, a file for each month."""

from __future__ import annotations

import io
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.errors import InsufficientStorage, Unavailable
from twisted_index.events import audit_lines
from twisted_index.events.audit_log import AuditFile
from twisted_index.interfaces import AuditEvent

NOON = datetime(2030, 1, 2, 12, 0, 0, 5, tzinfo=UTC)


def event(number: int = 0, **values: str) -> AuditEvent:
    return AuditEvent(time=NOON, **{"by": "alice", "action": "upload", "project": f"p{number}", **values})


def path_of(state: Path) -> Path:
    return state / "keep" / "history" / "2030-01.jsonl"


def test_events_come_back_the_youngest_first(tmp_path: Path):
    journal = AuditFile(str(tmp_path / "state"))
    assert journal.latest(5) == ()
    events = [event(number, detail='änd "\n\u2028', filename="a.whl") for number in range(5)]
    for one in events:
        journal.append(one)
    assert journal.latest(3) == tuple(reversed(events[2:]))
    assert journal.latest(99) == tuple(reversed(events))


def test_another_process_reads_the_same(tmp_path: Path):
    AuditFile(str(tmp_path)).append(event(1))
    AuditFile(str(tmp_path)).append(event(2))
    assert AuditFile(str(tmp_path)).latest(2) == (event(2), event(1))


def test_nobody_else_may_read_it(tmp_path: Path):
    AuditFile(str(tmp_path / "state")).append(event())
    path = path_of(tmp_path / "state")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:2]] == [0o700] * 2


@pytest.mark.parametrize("torn", [b'{"time": "2030-01-', b"{}\n", b"[]\n", b"\x00\xff", b'{"time": "x"}\n'])
def test_a_torn_line_costs_only_itself(tmp_path: Path, torn: bytes):
    journal = AuditFile(str(tmp_path))
    journal.append(event(1))
    with path_of(tmp_path).open("ab") as file:
        file.write(torn)
    assert journal.latest(2) == (event(1),)
    journal.append(event(2))
    assert journal.latest(3) == (event(2), event(1))


def test_what_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "keep").write_text("in the way")
    with pytest.raises((Unavailable, InsufficientStorage), match="could not be recorded"):
        AuditFile(str(tmp_path)).append(event())
    with pytest.raises(Unavailable):
        AuditFile(str(tmp_path)).latest(1)


def test_without_a_state_the_last_events_are_kept_in_memory():
    journal = AuditFile(None)
    for number in range(2000):
        journal.append(event(number))
    assert journal.latest(2) == (event(1999), event(1998))
    assert len(journal.latest(5000)) == 1000


@given(st.binary(max_size=300).map(lambda data: data.replace(b"a", b"\n")), st.integers(1, 20))
def test_blocks_from_the_end_are_the_lines(data: bytes, block: int):
    before, audit_lines._BLOCK = audit_lines._BLOCK, block
    try:
        blocks = list(audit_lines.blocks_from_end(io.BytesIO(data), len(data)))
    finally:
        audit_lines._BLOCK = before
    assert b"".join(lines for _start, lines in reversed(blocks)) == data
    assert all(data[start : start + len(lines)] == lines for start, lines in blocks)
    assert all(not start or data[start - 1 : start] == b"\n" for start, _lines in blocks)


#: A line as it was written before there were names of indexes.
LINE = (
    b'{"time": "2030-01-02T12:00:00.000005Z", "by": "alice", "action": "upload", "project": "p0",'
    b' "filename": "", "detail": ""}\n'
)


def test_a_line_of_the_only_index_names_no_index(tmp_path: Path):
    """A history is the same bytes as ever where there is one index, so older servers and tools read it."""
    AuditFile(str(tmp_path)).append(event())
    assert path_of(tmp_path).read_bytes() == LINE


def test_the_index_of_an_event_comes_back(tmp_path: Path):
    """Events of named indexes keep the name; lines from before such names are events of the only index."""
    journal = AuditFile(str(tmp_path))
    journal.append(event(index="dev"))
    with path_of(tmp_path).open("ab") as file:
        file.write(LINE)
    assert journal.latest(2) == (event(), event(index="dev"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives things away")
def test_a_history_begun_by_root_belongs_to_the_owner_of_the_state(tmp_path: Path):
    os.chown(tmp_path, 12345, 12346)
    AuditFile(str(tmp_path)).append(event())
    for path in (path_of(tmp_path), *path_of(tmp_path).parents[:2]):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_the_history_may_be_a_link_to_another_volume(tmp_path: Path):
    volume = tmp_path / "volume.jsonl"
    path_of(tmp_path).parent.mkdir(parents=True)
    path_of(tmp_path).symlink_to(volume)
    journal = AuditFile(str(tmp_path))
    journal.append(event())
    assert journal.latest(1) == (event(),)
    assert volume.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is led astray")
def test_root_writes_no_history_through_a_link_of_the_owner_of_the_state(tmp_path: Path):
    keep = path_of(tmp_path).parent
    keep.mkdir(parents=True)
    path_of(tmp_path).symlink_to(tmp_path / "elsewhere")
    for path in (keep.parent, keep, path_of(tmp_path)):
        os.chown(path, 12345, 12345, follow_symlinks=False)

    with pytest.raises(Unavailable):
        AuditFile(str(tmp_path)).append(event())
    assert not (tmp_path / "elsewhere").exists()
