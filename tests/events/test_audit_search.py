"""Searching the audit log: the same answers from files and from memory, and as if every event were read."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.errors import BadRequest, Unavailable
from twisted_index.events import audit_lines
from twisted_index.events.audit_filter import AuditFilter, TokenMakers
from twisted_index.events.audit_lines import write_event
from twisted_index.events.audit_log import AuditFile
from twisted_index.interfaces import AuditAction, AuditEvent, AuditQuery

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def event(number: int = 0, time: datetime = NOON, **values: str) -> AuditEvent:
    given = {"by": "alice", "action": "upload", "project": "demo", "detail": str(number), **values}
    return AuditEvent(time=time, **given)


@pytest.fixture(params=["files", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AuditFile:
    return AuditFile(str(tmp_path) if request.param == "files" else None)


def found(journal: AuditFile, **conditions: object) -> list[str]:
    """Give the details of the events found, page by page."""
    query = AuditQuery(**conditions)
    details = []
    while True:
        page = journal.search(query)
        assert len(page.events) <= query.limit
        details += [event.detail for event in page.events]
        if not page.next:
            return details
        query = AuditQuery(**{**conditions, "before": page.next})


def month(tmp_path: Path, name: str = "2026-11") -> Path:
    return tmp_path / "keep" / "history" / f"{name}.jsonl"


# -- Conditions


def test_events_are_found_by_their_index(journal: AuditFile):
    for number, index in enumerate(["", "dev", "prod", "de"]):
        journal.append(event(number, index=index))

    everything = found(journal)
    assert everything == ["3", "2", "1", "0"]
    assert found(journal, indexes=frozenset({"dev"})) == ["1"]
    assert found(journal, indexes=frozenset({""})) == ["0"]
    assert found(journal, indexes=frozenset({"", "prod"})) == ["2", "0"]
    assert found(journal, indexes=frozenset({"none"})) == []


def test_events_are_found_by_project_and_action(journal: AuditFile):
    for number, (project, action) in enumerate(
        [("demo", "upload"), ("demo", "yank"), ("demo-2", "upload"), ("de", "delete")]
    ):
        journal.append(event(number, project=project, action=action))
    assert found(journal, project="demo") == ["1", "0"]
    assert found(journal, project="demo", actions=frozenset({"yank", "delete"})) == ["1"]
    assert found(journal, actions=frozenset({"upload"})) == ["2", "0"]


def test_a_value_of_another_field_is_no_match(journal: AuditFile):
    journal.append(event(by="demo", project="other", filename="upload", detail='"project": "demo"'))
    assert found(journal, project="demo") == found(journal, by="upload") == []


def test_moments_include_the_first_and_not_the_last(journal: AuditFile):
    second = timedelta(seconds=1)
    for number in range(4):
        journal.append(event(number, NOON + number * second))
    assert found(journal, since=NOON + second, until=NOON + 3 * second) == ["2", "1"]


def test_fractions_of_a_second_count(journal: AuditFile):
    for number in range(3):
        journal.append(event(number, NOON + timedelta(microseconds=number)))
    edge = NOON + timedelta(microseconds=1)
    assert found(journal, until=edge) == ["0"]
    assert found(journal, since=edge) == ["2", "1"]


def test_the_edge_of_a_month_belongs_to_one_month(journal: AuditFile):
    edge = datetime(2026, 12, 1, tzinfo=UTC)
    last = edge - timedelta(microseconds=1)
    journal.append(event(1, last))
    journal.append(event(2, edge))
    assert found(journal, until=edge) == ["1"]
    assert found(journal, since=edge) == ["2"]
    assert found(journal, since=last) == ["2", "1"]


def test_events_recorded_while_the_clock_was_wrong_are_found(journal: AuditFile):
    for number, hours in enumerate([0, 5, -3, -24 * 40, 2]):
        journal.append(event(number, NOON + timedelta(hours=hours)))
    assert sorted(found(journal)) == ["0", "1", "2", "3", "4"]
    assert sorted(found(journal, since=NOON, until=NOON + timedelta(hours=3))) == ["0", "4"]
    assert found(journal, until=NOON - timedelta(days=30)) == ["3"]


# -- Who


def test_what_a_user_did_at_the_console_is_found_too(journal: AuditFile):
    for number, by in enumerate(["alice", "alice (console)", "alice2", "malice", "token alice", "bob"]):
        journal.append(event(number, by=by))
    assert found(journal, by="alice") == ["1", "0"]
    assert found(journal, by="alice (console)") == ["1"]


def test_what_was_done_with_the_tokens_of_a_user_is_found_too(journal: AuditFile):
    journal.append(event(by="alice (console)", action="token-create", detail="ci: upload demo"))
    journal.append(event(by="bob", action="token-create", detail="ci-2: upload demo"))
    for number, by in enumerate(["token ci", "token ci-2", "alice"]):
        journal.append(event(number, by=by))
    assert found(journal, by="alice", actions=frozenset({"upload"})) == ["2", "0"]
    assert found(journal, by="token ci") == ["0"]


def test_a_token_that_somebody_else_makes_under_a_revoked_name_is_theirs(journal: AuditFile):
    hour = timedelta(hours=1)
    steps = [
        ("token ci", "upload", "before anyone is known to have made it"),
        ("alice", "token-create", "ci: upload *"),
        ("token ci", "upload", "of alice"),
        ("alice", "token-revoke", "ci"),
        ("bob (console)", "token-create", "ci: upload *"),
        ("token ci", "upload", "of bob"),
    ]
    for number, (by, action, detail) in enumerate(steps):
        journal.append(event(by=by, action=action, detail=detail, time=NOON + number * hour))
    assert found(journal, by="alice", actions=frozenset({"upload"})) == ["of alice"]
    assert found(journal, by="bob", actions=frozenset({"upload"})) == ["of bob"]


def test_who_made_a_token_is_read_again_only_from_files_that_have_changed(tmp_path: Path):
    """The rows of a long table need it for each step."""
    journal = AuditFile(str(tmp_path))
    journal.append(event(1, NOON - timedelta(days=90), by="alice", action="token-create", detail="ci: x"))
    journal.append(event(2, by="token ci"))
    assert found(journal, by="alice") == ["2", "ci: x"]
    (old,) = month(tmp_path).parent.glob("2026-08*")
    status = old.stat()
    old.write_bytes(old.read_bytes().replace(b"alice", b"carol"))
    os.utime(old, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert found(journal, by="alice") == ["2"]
    journal.append(event(3, by="bob", action="token-create", detail="ci-2: x"))
    journal.append(event(4, by="token ci-2"))
    assert found(journal, by="bob") == ["4", "ci-2: x"]
    old.unlink()
    assert found(journal, by="alice") == []


def test_which_tokens_a_user_made_is_found_without_the_months_before(tmp_path: Path):
    """Nothing but those months says who made the tokens that the user may have worked with."""
    journal = AuditFile(str(tmp_path))
    journal.append(event(1, by="alice", action="token-create", detail="ci: x"))
    Path(f"{month(tmp_path, '2026-09')}.gz").write_bytes(b"damaged")
    assert found(journal, by="alice", actions=frozenset({"token-create"}), since=NOON) == ["ci: x"]
    with pytest.raises(Unavailable):
        journal.search(AuditQuery(by="alice", since=NOON))


def test_names_in_other_scripts_are_found(journal: AuditFile):
    for number, by in enumerate(["日本", "Jörg", 'a"\\b/', "Jorg"]):
        journal.append(event(number, by=by))
    assert [found(journal, by=by) for by in ("日本", "Jörg", 'a"\\b/')] == [["0"], ["1"], ["2"]]


# -- Pages


def test_pages_follow_each_other_though_more_is_recorded(journal: AuditFile):
    for number in range(7):
        journal.append(event(number))
    first = journal.search(AuditQuery(limit=3))
    journal.append(event(99))
    assert [event.detail for event in first.events] == ["6", "5", "4"]
    assert found(journal, limit=3, before=first.next) == ["3", "2", "1", "0"]


def test_the_last_page_says_that_it_is_the_last(journal: AuditFile):
    for number in range(4):
        journal.append(event(number, project="ab"[number % 2]))
    assert journal.search(AuditQuery(limit=4)).next == ""
    assert journal.search(AuditQuery(limit=2, project="a")).next == ""
    assert journal.search(AuditQuery(limit=1, project="a")).next != ""


@pytest.mark.parametrize(
    "before", ["x", "2026-11", "2026-11:-1", "2026-11:٣", "../x:1", "2026-11:" + "9" * 99]
)
def test_a_cursor_of_no_page_is_a_bad_request(journal: AuditFile, before: str):
    with pytest.raises(BadRequest):
        journal.search(AuditQuery(before=before))


# -- Files


def test_the_file_from_before_there_were_months_holds_older_events(tmp_path: Path):
    (tmp_path / "keep").mkdir()
    old = [event(number, NOON - timedelta(days=400 - number)) for number in range(3)]
    (tmp_path / "keep" / "history.jsonl").write_bytes(b"".join(map(write_event, old)))
    journal = AuditFile(str(tmp_path))
    journal.append(event(3))
    assert found(journal, limit=2) == ["3", "2", "1", "0"]
    assert found(journal, since=old[1].time, until=old[2].time) == ["1"]


def test_a_month_may_be_deleted_between_two_pages(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    for number, days in enumerate([-60, -31, -30, 0]):
        journal.append(event(number, NOON + timedelta(days=days)))
    first = journal.search(AuditQuery(limit=2))
    month(tmp_path, "2026-10").unlink()
    assert found(journal, before=first.next) == ["0"]


def test_a_compressed_month_is_read(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    for number, days in enumerate([-40, -31, -30, -30, 0]):
        journal.append(event(number, NOON + timedelta(days=days)))
    path = month(tmp_path, "2026-10")
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert found(journal, limit=1) == ["4", "3", "2", "1", "0"]
    journal.append(event(5, NOON - timedelta(days=30)))
    assert sorted(found(journal, limit=2)) == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(os.urandom(200_000))[:-5]])
def test_a_damaged_month_is_an_error_and_not_an_empty_month(tmp_path: Path, data: bytes):
    journal = AuditFile(str(tmp_path))
    journal.append(event(1))
    Path(f"{month(tmp_path, '2026-09')}.gz").write_bytes(data)
    with pytest.raises(Unavailable):
        journal.search(AuditQuery())
    assert found(journal, since=NOON) == ["1"]


def test_what_is_no_month_is_passed_over(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    journal.append(event(1))
    folder = month(tmp_path).parent
    for name in (
        "2026-13.jsonl",
        "2026-10.jsonl.bak",
        "x",
        "2026-10.jsonl\n",
        "٢٠٢٦-10.jsonl",
        ".2026-10.jsonl",
    ):
        (folder / name).write_bytes(write_event(event(2)))
    month(tmp_path, "2026-09").mkdir()
    os.mkfifo(month(tmp_path, "2026-08"))
    month(tmp_path, "2026-07").symlink_to("nowhere")
    assert found(journal) == ["1"]


def test_a_huge_line_costs_only_itself(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    journal.append(event(1))
    with month(tmp_path).open("ab") as file:
        file.write(b'{"time": "' + b"x" * (3 << 20) + b"\n")
    journal.append(event(2))
    assert found(journal) == ["2", "1"]


def test_a_line_with_the_same_member_twice_is_one_event(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    journal.append(event(1))
    with month(tmp_path).open("ab") as file:
        file.write(write_event(event(2)).replace(b'{"time"', b'{"x": {"project": "demo"}, "time"'))
    assert found(journal, project="demo") == ["2", "1"]


def test_an_event_is_found_however_another_program_writes_json(tmp_path: Path):
    journal = AuditFile(str(tmp_path))
    journal.append(event(1, by="Jörg"))
    compact = month(tmp_path).read_text().replace('": ', '":').replace("\\u00f6", "ö")
    month(tmp_path).write_text(compact, encoding="utf-8")
    assert found(journal, by="Jörg", project="demo", actions=frozenset({"upload"})) == ["1"]


# -- As if every event were read

NAMES = ["a", "b", "a (console)", "token t", "token u", "anyone", ""]
EVENTS = st.builds(
    event,
    st.integers(0, 9),
    st.integers(-(40 * 86400), 40 * 86400).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    by=st.sampled_from(NAMES),
    action=st.sampled_from(["upload", "yank", "token-create", "refuse"]),
    project=st.sampled_from(["", "p", "p-1"]),
    detail=st.sampled_from(["t: upload", "u", 'x "project": "p"', "p", "\n"]),
)
MOMENTS = st.none() | st.integers(-50, 50).map(lambda days: NOON + timedelta(days=days))
QUERIES = st.builds(
    AuditQuery,
    since=MOMENTS,
    until=MOMENTS,
    project=st.sampled_from(["", "p", "p-1", "absent"]),
    by=st.sampled_from([*NAMES, "t"]),
    actions=st.sets(st.sampled_from(list(AuditAction)), max_size=2).map(frozenset),
    limit=st.integers(1, 4),
)


def naive(events: list[AuditEvent], query: AuditQuery) -> list[AuditEvent]:
    def maker(token: str, time: datetime) -> str:
        made = [
            (event.time, event.by)
            for event in events
            if event.action == "token-create" and event.detail.split(":")[0] == token and event.time <= time
        ]
        return max(made, default=(NOON, ""))[1]

    def did(event: AuditEvent) -> bool:
        names = (query.by, f"{query.by} (console)")
        token = event.by[6:] if event.by.startswith("token ") else None
        return event.by in names or (token is not None and maker(token, event.time) in names)

    return [
        event
        for event in events
        if (query.since is None or event.time >= query.since)
        and (query.until is None or event.time < query.until)
        and (not query.project or event.project == query.project)
        and (not query.actions or event.action in query.actions)
        and (not query.by or did(event))
    ]


@pytest.fixture
def small_blocks() -> Iterator[None]:
    before, audit_lines._BLOCK = audit_lines._BLOCK, 300
    yield
    audit_lines._BLOCK = before


@pytest.mark.usefixtures("small_blocks")
@given(st.lists(EVENTS, max_size=12), QUERIES, st.booleans(), st.integers(0, 12))
def test_a_search_finds_what_reading_every_event_finds(
    events: list[AuditEvent], query: AuditQuery, packed: bool, old: int
):
    folder = tempfile.mkdtemp()
    try:
        journal = AuditFile(folder)
        for one in events[old:]:
            journal.append(one)
        keep = Path(folder, "keep")
        keep.mkdir(exist_ok=True)
        (keep / "history.jsonl").write_bytes(b"".join(map(write_event, events[:old])))
        months = sorted(keep.glob("history/*.jsonl"))
        if packed and months:
            Path(f"{months[0]}.gz").write_bytes(gzip.compress(months[0].read_bytes()))
            months[0].unlink()
        seen: list[AuditEvent] = []
        page = journal.search(query)
        seen += page.events
        while page.next:
            page = journal.search(
                AuditQuery(**{name: getattr(query, name) for name in query.__slots__} | {"before": page.next})
            )
            assert 1 <= len(page.events) <= query.limit
            seen += page.events
        # Months come after each other, and within a month what was recorded last comes first.
        recorded = {id(one): place for place, one in enumerate(events)}
        newest_first = sorted(
            naive(events, query),
            key=lambda one: (
                "" if recorded[id(one)] < old else f"{one.time:%Y-%m}",
                recorded[id(one)],
            ),
            reverse=True,
        )
        assert seen == newest_first
    finally:
        shutil.rmtree(folder)


def made_and_used(journal: AuditFile, tokens: int) -> None:
    for number in range(tokens):
        journal.append(event(number, action="token-create", detail=f"job-{number}: upload demo"))
    for number, by in enumerate([f"token job-{tokens - 1}", "token job", "bob", 'token job-0", "by": "x']):
        journal.append(event(number, by=by, detail=by))


def test_the_uses_of_very_many_tokens_are_those_of_their_maker(journal: AuditFile):
    made_and_used(journal, 100)
    assert found(journal, by="alice", actions=frozenset({"upload"})) == ["token job-99"]


def test_a_search_for_a_user_takes_no_longer_with_many_tokens():
    """A pipeline makes one for each job; as one expression, 10,000 names took 1 s for 10,000 events."""
    block = b"".join(write_event(event(by="bob", detail="x" * 99)) for _ in range(200))
    durations = []
    for tokens in (100, 4000):
        made = [event(action="token-create", detail=f"job-{number}: x") for number in range(tokens)]
        wanted = AuditFilter(AuditQuery(by="alice"), TokenMakers(made))
        began = time.thread_time()
        for _ in range(20):
            assert not list(wanted.candidates(block))
        durations.append(time.thread_time() - began)
    assert durations[1] < 5 * durations[0]
