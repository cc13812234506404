"""A promotion in a server: what it lists, records, announces, and does not read again."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.kit.at_once import answer
from tests.kit.folder_store import Shop
from tests.kit.properties import examples
from twisted_index.backends.folder import inspection_scheduler, promotion, promotion_plan
from twisted_index.backends.folder.blocking_store import BlockingStore
from twisted_index.backends.folder.promotion import Promotion, carry_out
from twisted_index.backends.folder.promotion_plan import IndexFolders, PromotionRequest
from twisted_index.backends.folder.source import FolderSource
from twisted_index.errors import PromotionRefused, SimpleIndexError
from twisted_index.interfaces import AuditAction, AuditQuery
from twisted_index.simple.model import Sidecar
from twisted_index.testing import SynchronousRunner, make_sdist, make_wheel

WHEEL, SDIST, EXTRAS = make_wheel("acme", "1.2"), make_sdist("acme", "1.2"), make_wheel("acme-extras", "1.2")
RELEASES = ["acme==1.2", "acme-extras==1.2"]


@pytest.fixture
def staging(tmp_path: Path, open_shop: Callable[..., Shop]) -> Shop:
    shop = open_shop(
        tmp_path / "staging",
        blocking_store=BlockingStore([bytes(tmp_path / "staging")], index="staging"),
    )
    for made in (WHEEL, SDIST, EXTRAS):
        shop.publish(made, index="staging", signature=b"signed" if made is WHEEL else None)
    return shop


@pytest.fixture
def prod(tmp_path: Path, open_shop: Callable[..., Shop]) -> Shop:
    return open_shop(
        tmp_path / "prod", blocking_store=BlockingStore([bytes(tmp_path / "prod")], index="prod")
    )


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that are read to their ends."""
    paths: list[bytes] = []
    inspect = inspection_scheduler.inspect

    def counting(path: bytes, *arguments: Any, **options: Any) -> Any:
        paths.append(path)
        return inspect(path, *arguments, **options)

    for module in (inspection_scheduler, promotion, promotion_plan):
        monkeypatch.setattr(module, "inspect", counting)
    return paths


def promote(staging: Shop, prod: Shop, **options: Any) -> Any:
    return answer(prod.store.promote, staging.store, RELEASES, by="alice", **options)


def test_all_is_listed_with_what_belongs_to_it(staging: Shop, prod: Shop):
    outcome = promote(staging, prod)
    assert {file.filename: file.sha256 for file in outcome.published} == {
        made.filename: made.sha256 for made in (WHEEL, SDIST, EXTRAS)
    }
    assert prod.files("acme") == {WHEEL.filename: WHEEL.sha256, SDIST.filename: SDIST.sha256}
    assert prod.files("acme-extras") == {EXTRAS.filename: EXTRAS.sha256}
    assert prod.read(WHEEL.filename, Sidecar.SIGNATURE, "acme") == b"signed"


def test_the_time_of_publication_is_the_upload_time_of_all(staging: Shop, prod: Shop):
    promote(staging, prod)
    pages = [prod.page("acme"), prod.page("acme-extras")]
    assert len({file.upload_time for page in pages if page for file in page.files}) == 1


def test_nothing_is_read_again(staging: Shop, prod: Shop, inspected: list[bytes]):
    promote(staging, prod)
    assert set(prod.files("acme")) == {WHEEL.filename, SDIST.filename}
    assert set(prod.files("acme-extras")) == {EXTRAS.filename}
    assert inspected == []


def test_each_file_is_in_the_history_with_its_digest(staging: Shop, prod: Shop):
    outcome = promote(staging, prod)
    events = answer(prod.audit_log.search, AuditQuery()).events
    assert {(event.action, event.by, event.index, event.filename) for event in events} == {
        (AuditAction.PROMOTE, "alice", "prod", made.filename) for made in (WHEEL, SDIST, EXTRAS)
    }
    details = {event.filename: event.detail for event in events}
    assert details[WHEEL.filename] == f"sha256={WHEEL.sha256} from staging, promotion {outcome.id}"


def test_observers_learn_of_the_new_files(staging: Shop, tmp_path: Path, open_shop: Callable[..., Shop]):
    class Observer:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def added(self, _project: str, file: Any) -> None:
            self.seen.append(file.filename)

        def __getattr__(self, _name: str) -> Callable[..., None]:
            return lambda *_arguments, **_options: None

    observer = Observer()
    prod = open_shop(tmp_path / "prod", observer=observer)
    promote(staging, prod)
    assert sorted(observer.seen) == sorted(made.filename for made in (WHEEL, SDIST, EXTRAS))


def test_a_project_that_is_new_needs_the_right_to_create_it(staging: Shop, prod: Shop):
    with pytest.raises(PromotionRefused) as caught:
        promote(staging, prod, may_create=lambda project: project == "acme")
    assert [refusal.name for refusal in caught.value.refusals] == ["acme-extras"]
    assert prod.tree() == []


def test_again_it_changes_nothing_and_records_nothing(staging: Shop, prod: Shop):
    promote(staging, prod)
    before, page = prod.events(), prod.page("acme")
    outcome = promote(staging, prod)
    assert (outcome.published, len(outcome.present)) == ((), 3)
    assert (prod.events(), prod.page("acme")) == (before, page)


def test_only_what_lies_in_folders_can_be_promoted(prod: Shop):
    with pytest.raises(TypeError):
        answer(prod.store.promote, object(), RELEASES, by="alice")


versions = st.sampled_from(["1.0", "1.1", "2.0rc1"])
releases = st.tuples(st.sampled_from(["acme", "acme-extras", "other"]), versions)


@examples(40, suppress_health_check=list(HealthCheck))
@given(
    wanted=st.sets(releases, min_size=1, max_size=4),
    there=st.sets(releases, max_size=3),
    flat=st.booleans(),
    stop=st.integers(0, 60),
)
def test_between_any_two_steps_a_reader_sees_nothing_of_it_or_all(
    wanted: set[tuple[str, str]], there: set[tuple[str, str]], flat: bool, stop: int
):
    """And what was there before keeps its bytes and its times; only the last step shows what has come."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        staging, prod = Path(name, "staging"), Path(name, "prod")
        prod.mkdir()
        for project, version in wanted:
            for made in (make_wheel(project, version), make_sdist(project, version)):
                made.write_to(staging / project)
        for project, version in there - wanted:
            make_wheel(project, version).write_to(prod if flat else prod / project)
        at_once = SynchronousRunner()
        source = FolderSource(prod, reactor=Clock(), reader=at_once, cache_thread=at_once)
        stack.callback(lambda: answer(source.stop))
        before, steps = listing(source), 0
        expected = {f"{project}-{version}" for project, version in wanted}
        seen: list[bool] = []

        def run(step: Callable[[], object]) -> None:
            nonlocal steps
            steps += 1
            if steps > stop:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            step()
            now = listing(source)
            assert before.items() <= now.items()
            new = {f"{file[0]}-{file[2]}" for file in now.keys() - before.keys()}
            assert new in (set(), expected)
            assert len(now) - len(before) in (0, 2 * len(wanted))
            assert not seen or seen[-1] <= bool(new)
            seen.append(bool(new))

        request = PromotionRequest(
            source=IndexFolders(name="staging", roots=(os.fsencode(staging),)),
            target=IndexFolders(name="prod", roots=(os.fsencode(prod),)),
            releases=tuple(sorted(f"{project}=={version}" for project, version in wanted)),
            by="alice",
        )
        with contextlib.suppress(SimpleIndexError):
            carry_out(Promotion(request, run=run))
        assert len(listing(source)) - len(before) in (0, 2 * len(wanted))


def listing(source: FolderSource) -> dict[tuple[str, str, str], tuple[str, datetime | None]]:
    """All files of all pages, with what may not change."""
    names = answer(source.project_list).value.names
    pages = {
        project: answer(source.project_page, project).value for project in ("acme", "acme-extras", "other")
    }
    assert set(names) == {project for project, page in pages.items() if page is not None}
    return {
        (project, file.filename, file.version): (file.hashes["sha256"], file.upload_time)
        for project, page in pages.items()
        if page is not None
        for file in page.files
    }
