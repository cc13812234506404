"""Files without a promised digest are fetched once, before they are listed."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.python.failure import Failure

from tests.kit.scripted_remote import Bench, ScriptedRemote, remote_file
from twisted_index import cli
from twisted_index.backends.upstream.remote import RemoteFile
from twisted_index.errors import BadGateway, NotReady, Unavailable
from twisted_index.http_client.retry import TemporaryFailure
from twisted_index.simple.model import ProjectStatus, Status

CONTENTS = {f"demo-{number}.0.tar.gz": b"sdist %d" % number * 100 for number in range(1, 13)}
NAMES = sorted(CONTENTS)


def unpromised(name: str, **more: Any) -> RemoteFile:
    version = name.removeprefix("demo-").removesuffix(".tar.gz")
    return remote_file(CONTENTS[name], name, version=version, promise=False, **more)


FILES = {name: unpromised(name) for name in NAMES}
ONE, TWO, THREE = (FILES[name] for name in NAMES[:3])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "cache", remote())
    bench.remote.offer(ONE, TWO, THREE)
    return bench


def remote(**more: Any) -> ScriptedRemote:
    bodies = {file.url: CONTENTS[name] for name, file in FILES.items()}
    return ScriptedRemote(is_immutable=True, lists_digests=True, bodies=bodies, **more)


def again(bench: Bench, **more: Any) -> Bench:
    """Start once more on the same cache."""
    assert bench.cache is not None
    return Bench(bench.cache.path, *bench.remotes, clock=bench.clock, **more)


def offer(bench: Bench, *files: RemoteFile, **more: Any) -> None:
    """Let the upstream list other files, and the page of before grow old."""
    bench.remote.offer(*files, etag=f'"{len(bench.remote.asked)}"', **more)
    bench.clock.advance(600)


def digests(bench: Bench) -> dict[str, str | None]:
    return {file.filename: file.hashes.get("sha256") for file in bench.page().files}


def digest(name: str) -> str:
    return hashlib.sha256(CONTENTS[name]).hexdigest()


def fetched(bench: Bench) -> list[str]:
    return sorted(url.rpartition("/")[2] for what, url in bench.remote.asked if what == "fetch")


def error_of(outcome: list[Any]) -> Any:
    assert isinstance(outcome[0], Failure)
    return outcome[0].value


def send_all(bench: Bench, *names: str) -> None:
    """Let the bodies of files come that were asked for, in order."""
    for sending, name in zip(bench.remote.sendings, names, strict=False):
        if not sending._done.called:
            sending.send(CONTENTS[name])
            sending.end()


def test_every_listed_file_has_the_digest_of_its_bytes(bench: Bench):
    assert digests(bench) == {name: digest(name) for name in NAMES[:3]}
    assert [bench.read(name) for name in NAMES[:3]] == [CONTENTS[name] for name in NAMES[:3]]
    assert fetched(bench) == NAMES[:3]


def test_files_with_a_promised_digest_are_not_fetched(bench: Bench):
    bench.remote.offer(remote_file(CONTENTS[NAMES[0]], NAMES[0]), TWO)
    bench.page()

    assert fetched(bench) == [NAMES[1]]


def test_other_upstreams_list_files_without_a_digest(bench: Bench):
    bench.remote.lists_digests = False
    other = Bench(bench.cache.path if bench.cache else "", bench.remote)

    assert set(digests(other).values()) == {None}
    assert fetched(other) == []


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_no_file_is_fetched_twice(bench: Bench, restarts: bool):
    bench.page()
    later = again(bench) if restarts else bench
    offer(later, ONE, TWO, THREE, FILES[NAMES[3]])

    assert set(digests(later)) == set(NAMES[:4])
    assert [later.read(name) for name in NAMES[:4]] == [CONTENTS[name] for name in NAMES[:4]]
    assert fetched(later) == NAMES[:4]


def test_a_file_that_returns_is_not_fetched_again(bench: Bench):
    bench.page()
    offer(bench, TWO)
    assert set(digests(bench)) == {NAMES[1]}
    offer(bench, ONE, TWO)

    assert digests(bench)[NAMES[0]] == digest(NAMES[0])
    assert fetched(bench) == NAMES[:3]


def test_a_page_that_is_not_ready_says_how_far_it_is(bench: Bench):
    bench.remote.by_hand = True
    outcome = bench.begin(bench.source.project_page, "demo")
    send_all(bench, NAMES[0])
    bench.clock.advance(10)

    error = error_of(outcome)
    assert isinstance(error, NotReady)
    assert (error.status, dict(error.headers)) == (503, {b"Retry-After": b"5"})
    assert "1 of 3 files" in error.message
    send_all(bench, *NAMES[:3])
    assert len(digests(bench)) == 3
    assert fetched(bench) == NAMES[:3]


def test_each_client_waits_anew_while_files_are_fetched(bench: Bench):
    bench.remote.by_hand = True
    bench.begin(bench.source.project_page, "demo")
    bench.clock.advance(300)
    second = bench.begin(bench.source.project_page, "demo")
    bench.clock.advance(9)
    assert second == []
    send_all(bench, *NAMES[:3])

    assert len(second[0].value.files) == 3


def test_clients_that_ask_at_once_share_the_downloads(bench: Bench):
    bench.remote.by_hand = True
    outcomes = [bench.begin(bench.source.project_page, "demo") for _ in range(20)]
    send_all(bench, *NAMES[:3])

    assert {len(outcome[0].value.files) for outcome in outcomes} == {3}
    assert fetched(bench) == NAMES[:3]


def test_only_some_files_of_a_project_are_fetched_at_once(bench: Bench):
    bench.remote.by_hand = True
    bench.remote.offer(*FILES.values())
    outcome = bench.begin(bench.source.project_page, "demo")
    assert len(bench.remote.sendings) == 4
    send_all(bench, *NAMES)

    assert len(bench.remote.sendings) == 12
    assert len(outcome[0].value.files) == 12


def test_only_some_files_of_all_projects_are_fetched_at_once(bench: Bench):
    bench.remote.by_hand = True
    for project in ("demo", "b", "c", "d"):
        files = [
            remote_file(b"x", f"{project}-{number}.tar.gz", version=f"{number}", promise=False)
            for number in range(5)
        ]
        bench.remote.bodies |= {file.url: b"x" for file in files}
        bench.remote.offer(*files, project=project)
        bench.begin(bench.source.project_page, project)
    assert len(bench.remote.sendings) == 8

    for sending in bench.remote.sendings:  # which grows
        sending.send(b"x")
        sending.end()
    assert len(bench.remote.sendings) == 20
    assert {len(bench.names(project)) for project in ("demo", "b", "c", "d")} == {5}


def test_an_old_page_is_served_until_the_new_files_have_been_fetched(bench: Bench):
    bench.remote.offer(ONE)
    bench.page()
    bench.remote.by_hand = True
    offer(bench, ONE, TWO)
    outcome = bench.begin(bench.source.project_page, "demo")
    bench.clock.advance(5)

    assert [file.filename for file in outcome[0].value.files] == [NAMES[0]]
    assert not outcome[0].is_current()
    send_all(bench, NAMES[0], NAMES[1])
    assert bench.names() == NAMES[:2]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (None, BadGateway),
        (BadGateway("It is not right."), BadGateway),
        (Unavailable("It is down."), Unavailable),
        (TemporaryFailure("It is busy.", 60), Unavailable),
    ],
    ids=["missing", "bad", "down", "busy"],
)
def test_a_file_that_cannot_be_fetched_is_an_error_of_the_page_that_names_it(
    bench: Bench, failure: Any, kind: type[Unavailable]
):
    bench.remote.bodies[TWO.url] = failure
    with pytest.raises(kind, match=f"states no digest of {NAMES[1]}") as raised:
        bench.page()
    assert raised.value.status == (502 if kind is BadGateway else 503)
    assert raised.value.retry_after == (60 if isinstance(failure, TemporaryFailure) else 5)

    bench.remote.bodies[TWO.url] = CONTENTS[NAMES[1]]
    assert set(digests(bench)) == set(NAMES[:3])
    assert sorted({*fetched(bench)}) == NAMES[:3]
    assert fetched(bench).count(NAMES[0]) == fetched(bench).count(NAMES[2]) == 1


def test_a_file_that_cannot_be_fetched_leaves_the_old_page(bench: Bench):
    bench.remote.offer(ONE, TWO)
    before = bench.page()
    bench.remote.bodies[THREE.url] = None
    offer(bench, ONE, TWO, THREE)
    snapshot = bench.snapshot()

    assert snapshot.value is before
    assert not snapshot.is_current()
    asked = len(bench.remote.asked)
    assert bench.page() is before
    assert len(bench.remote.asked) == asked


def test_a_file_that_cannot_be_fetched_is_a_problem_until_it_can(bench: Bench):
    bench.remote.bodies[TWO.url] = None
    with pytest.raises(BadGateway):
        bench.page()
    (problem,) = bench.ask(bench.source.problems).problems
    assert problem.path == f"demo/{NAMES[1]}"
    bench.remote.offer(ONE, THREE, etag='"2"')
    bench.page()

    assert bench.ask(bench.source.problems).problems == ()


def test_a_page_of_html_in_place_of_a_file_gets_no_digest(bench: Bench):
    bench.remote.offer(unpromised(NAMES[0], sized=False))
    bench.remote.bodies[ONE.url] = b"<html>Log in</html>"
    with pytest.raises(BadGateway, match=NAMES[0]):
        bench.page()


def test_a_file_of_another_size_than_stated_gets_no_digest(bench: Bench):
    bench.remote.bodies[ONE.url] = CONTENTS[NAMES[0]] + b"more"
    with pytest.raises(BadGateway, match=NAMES[0]):
        bench.page()


def test_a_file_that_is_replaced_while_it_is_fetched_shows_with_the_next_page(bench: Bench):
    bench.remote.by_hand = True
    bench.remote.offer(ONE, TWO)
    outcome = bench.begin(bench.source.project_page, "demo")
    moved = unpromised(NAMES[1], url="https://files.example/new")
    bench.remote.bodies |= {moved.url: CONTENTS[NAMES[1]], TWO.url: b""}
    bench.remote.offer(ONE, moved, etag='"2"')
    first, second = bench.remote.sendings
    first.send(CONTENTS[NAMES[0]])
    first.end()
    second.end(BadGateway("It is gone."))
    bench.remote.bodies.pop(TWO.url)
    bench.clock.advance(1)
    bench.clock.advance(1)
    assert NAMES[1] in error_of(outcome).message
    bench.remote.by_hand = False

    assert digests(bench) == {name: digest(name) for name in NAMES[:2]}
    assert fetched(bench).count(NAMES[0]) == 1


def test_what_was_fetched_before_a_restart_is_not_fetched_again(bench: Bench):
    bench.remote.by_hand = True
    bench.begin(bench.source.project_page, "demo")
    send_all(bench, NAMES[0], NAMES[1])
    bench.stop()
    bench.remote.by_hand = False
    bench.remote.asked.clear()
    later = again(bench)

    assert digests(later) == {name: digest(name) for name in NAMES[:3]}
    assert fetched(later) == [NAMES[2]]


def test_a_project_that_is_being_fetched_is_neither_absent_nor_empty(bench: Bench):
    bench.remote.by_hand = True
    outcome = bench.begin(bench.source.project_page, "demo")
    send_all(bench, NAMES[0])
    bench.clock.advance(10)
    assert isinstance(error_of(outcome), NotReady)
    later = again(bench)
    second = later.begin(later.source.project_page, "demo")
    later.clock.advance(10)

    assert isinstance(error_of(second), NotReady)


def test_a_later_upstream_does_not_get_a_project_that_is_being_fetched(tmp_path: Path):
    later = ScriptedRemote(url="https://two.example/simple/")
    later.offer(remote_file(b"other", NAMES[0]))
    before = Bench(tmp_path, later)
    assert before.page() is not None
    first = remote(by_hand=True)
    first.offer(ONE, TWO)
    bench = Bench(tmp_path, first, later, clock=before.clock)
    outcome = bench.begin(bench.source.project_page, "demo")
    send_all(bench, NAMES[0])
    bench.clock.advance(10)
    assert isinstance(error_of(outcome), NotReady)
    bench.stop()
    first.pages["demo"] = Unavailable("It is down.")
    again_ = Bench(tmp_path, first, later, clock=before.clock)

    with pytest.raises(Unavailable, match="It is down"):
        again_.page()


def test_the_end_of_the_service_ends_the_downloads_and_begins_no_others(bench: Bench):
    bench.remote.by_hand = True
    bench.remote.offer(*FILES.values())
    outcome = bench.begin(bench.source.project_page, "demo")
    bench.stop()

    assert error_of(outcome).status == 503
    assert len(bench.remote.sendings) == 4
    assert all(sending.aborted for sending in bench.remote.sendings)


def test_without_a_cache_files_are_digested_as_they_come(tmp_path: Path):
    bench = Bench(tmp_path / "cache", remote(), keeps=False)
    bench.remote.offer(ONE, TWO)
    for _ in range(3):
        assert digests(bench) == {name: digest(name) for name in NAMES[:2]}
    assert fetched(bench) == NAMES[:2]
    assert list(tmp_path.iterdir()) == []

    bench.remote.offer(ONE, THREE, etag='"2"')
    bench.page()
    assert fetched(bench) == NAMES[:3]


def test_a_file_larger_than_the_cache_is_digested_as_it_comes(tmp_path: Path):
    large = bytes(range(256)) * 20_000
    bench = Bench(tmp_path, remote(), size=1 << 20)
    file = remote_file(large, "demo-1.0.tar.gz", promise=False)
    bench.remote.bodies[file.url] = large
    bench.remote.offer(file)

    assert digests(bench) == {"demo-1.0.tar.gz": hashlib.sha256(large).hexdigest()}


def test_a_stored_digest_outlives_the_stored_file(bench: Bench):
    bench.page()
    assert bench.cache is not None
    shutil.rmtree(Path(bench.cache.path) / "files")
    later = again(bench)

    assert digests(later) == {name: digest(name) for name in NAMES[:3]}
    assert fetched(later) == NAMES[:3]


def test_a_quarantined_page_lists_nothing_and_fetches_nothing(bench: Bench):
    bench.remote.offer(ONE, status=ProjectStatus(status=Status.QUARANTINED))

    assert digests(bench) == {}
    assert fetched(bench) == []


def test_offline_only_files_in_the_cache_are_listed(bench: Bench):
    bench.page()
    later = again(bench, offline=True)
    later.remote.asked.clear()

    assert digests(later) == {name: digest(name) for name in NAMES[:3]}
    assert later.remote.asked == []


def test_an_upstream_that_rebuilds_is_fetched_again_only_where_a_file_was_replaced(bench: Bench):
    later = again(bench, rebuilds=[bench.remote.url])
    later.page()
    new = b"rebuilt" * 100
    rebuilt = remote_file(new, NAMES[0], url="https://files.example/rebuilt", promise=False)
    later.remote.bodies[rebuilt.url] = new
    offer(later, rebuilt, TWO, THREE)

    assert digests(later)[NAMES[0]] == hashlib.sha256(new).hexdigest()
    assert fetched(later) == sorted([*NAMES[:3], "rebuilt"])
    assert later.read(NAMES[0]) == new


@pytest.mark.parametrize("is_listed", [False, True], ids=["being fetched", "listed"])
def test_a_project_that_is_refreshed_is_fetched_again(bench: Bench, is_listed: bool):
    assert bench.cache is not None
    bench.remote.bodies[THREE.url] = CONTENTS[NAMES[2]] if is_listed else None
    bench.begin(bench.source.project_page, "demo")
    assert cli.main(["refresh", "--files", "--cache", bench.cache.path, "demo"]) == 0
    assert not any(bench.cache.has_file(digest(name)) for name in NAMES)
    bench.remote.bodies[THREE.url] = CONTENTS[NAMES[2]]
    bench.remote.asked.clear()
    bench.clock.advance(600)

    assert set(digests(bench)) == set(NAMES[:3])
    assert fetched(bench) == NAMES[:3]


def test_thousands_of_files_that_fail_at_once_are_one_error(bench: Bench):
    names = [f"demo-{number}.tar.gz" for number in range(3000)]
    files = [remote_file(b"x", name, version="1", promise=False) for name in names]
    bench.remote.offer(*files)
    with pytest.raises(BadGateway, match=r"demo-0\.tar\.gz"):
        bench.page()


def test_pages_are_as_old_as_their_request(bench: Bench):
    bench.remote.by_hand = True
    bench.begin(bench.source.project_page, "demo")
    began = bench.wall()
    bench.clock.advance(500)
    send_all(bench, *NAMES[:3])

    assert bench.snapshot().cache_status == "hit; ttl=100"
    assert math.isclose(bench.source.first_seen("demo", NAMES[0]) or 0, began)
