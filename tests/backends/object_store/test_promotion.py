"""Promotion between the indexes of a bucket: all files of all releases in one step, whatever happens."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from twisted.python.failure import Failure

from tests.kit.at_once import answer
from tests.kit.bucket_indexes import Node, add
from tests.kit.memory_bucket import MemoryBucket, Operation
from twisted_index.backends.object_store.store import ObjectStore
from twisted_index.errors import Conflict, PromotionRefused, Unavailable
from twisted_index.interfaces import PromotionOutcome, Upload
from twisted_index.simple.model import Yanked
from twisted_index.testing import make_wheel

ACME, EXTRAS = make_wheel("acme", "1.0"), make_wheel("extras", "2.0")
OTHER = make_wheel("acme", "1.0", files={"other.txt": b"other"})
RELEASES = ["acme==1.0", "extras==2.0"]


#: The bytes of a file that is written in one request; in some tests all files are large ones.
ONE_REQUEST = {"bytes": 16 << 20}


@pytest.fixture(params=[16 << 20, 10], ids=["small", "large"])
def one_request(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ONE_REQUEST, "bytes", request.param)


@pytest.fixture
def bucket(one_request: None) -> MemoryBucket:
    return made()


def made() -> MemoryBucket:
    """Two releases in staging."""
    bucket = MemoryBucket("s3://bucket/indexes")
    add(bucket, "staging", ACME, EXTRAS)
    bucket.place(f"staging/acme/{ACME.filename}.provenance", b"{}")
    add(bucket, "prod", settings="")
    return bucket


def promote(node: Node, *releases: str, to: str = "prod", yanked: bool = False) -> PromotionOutcome:
    source, target = node.find("staging").store, node.find(to).store
    assert isinstance(target, ObjectStore)
    target.editor.one_request = ONE_REQUEST["bytes"]
    outcome: PromotionOutcome = answer(
        target.promote,
        source,
        releases or RELEASES,
        by="rita",
        yanked=yanked,  # type: ignore[attr-defined]
    )
    return outcome


def shown(bucket: MemoryBucket, index: str = "prod") -> set[str]:
    """What another node shows that has just started."""
    node = Node(bucket)
    pages = (node.files(index, project) or [] for project in ("acme", "extras"))
    return {file.filename for page in pages for file in page}


def left(bucket: MemoryBucket) -> list[str]:
    return [key for key in bucket.keys() if ".staged" in key]  # noqa: SIM118


def test_releases_of_several_projects_come_with_what_lies_beside_them(bucket: MemoryBucket):
    outcome = promote(Node(bucket))
    assert {file.filename for file in outcome.published} == {ACME.filename, EXTRAS.filename}
    assert shown(bucket) == {ACME.filename, EXTRAS.filename}
    assert shown(bucket, "staging") == {ACME.filename, EXTRAS.filename}
    assert bucket.content(f"prod/acme/{ACME.filename}") == ACME.content
    assert bucket.content(f"prod/acme/{ACME.filename}.provenance") == b"{}"
    assert left(bucket) == []


def test_the_node_that_promotes_shows_them_at_once(bucket: MemoryBucket):
    node = Node(bucket)
    assert node.files("prod", "acme") is None
    promote(node)
    assert [file.filename for file in node.files("prod", "acme") or []] == [ACME.filename]


def test_what_is_there_already_is_not_copied(bucket: MemoryBucket):
    promote(Node(bucket))
    outcome = promote(Node(bucket))
    assert (outcome.published, set(outcome.present)) == ((), {ACME.filename, EXTRAS.filename})


def test_other_bytes_under_a_name_are_refused_and_nothing_comes(bucket: MemoryBucket):
    add(bucket, "prod", OTHER)
    with pytest.raises(PromotionRefused) as refused:
        promote(Node(bucket))
    assert [part.name for part in refused.value.refusals] == [ACME.filename]
    assert shown(bucket) == {ACME.filename}
    assert bucket.content(f"prod/acme/{ACME.filename}") == OTHER.content
    assert left(bucket) == []


def test_yanked_files_come_along_on_request_only(bucket: MemoryBucket):
    bucket.place(f"staging/acme/{ACME.filename}.yanked", b"broken")
    with pytest.raises(PromotionRefused, match="It is yanked: broken"):
        promote(Node(bucket))
    promote(Node(bucket), yanked=True)
    files = Node(bucket).files("prod", "acme") or []
    assert [file.yanked for file in files] == [Yanked(reason="broken")]


def test_a_name_that_is_taken_at_the_last_moment_undoes_all(bucket: MemoryBucket):
    def overtake(operation: Operation) -> None:
        if operation == Operation("create", f"prod/extras/{EXTRAS.filename}"):
            bucket.before = None
            other = make_wheel("extras", "2.0", files={"other.txt": b"other"})
            add(bucket, "prod", other)

    bucket.before = overtake
    with pytest.raises(PromotionRefused):
        promote(Node(bucket))
    assert shown(bucket) == {EXTRAS.filename}
    assert [key for key in bucket.keys() if key.startswith("prod/acme/")] == []  # noqa: SIM118
    assert left(bucket) == []


def test_a_project_that_is_archived_meanwhile_gets_nothing(bucket: MemoryBucket):
    def archive(operation: Operation) -> None:
        if operation.method == "create" and operation.key.startswith("prod/acme/"):
            bucket.before = None
            bucket.place("prod/extras/.archived", b"")

    bucket.before = archive
    with pytest.raises(PromotionRefused, match="archived"):
        promote(Node(bucket))
    assert shown(bucket) == set()
    assert left(bucket) == []


def test_the_same_bytes_return_where_they_were_deleted(bucket: MemoryBucket):
    promote(Node(bucket))
    node = Node(bucket)
    store = node.find("prod").store
    assert store is not None
    answer(store.delete, "acme", ACME.filename, by="alice")
    promote(Node(bucket))
    assert shown(bucket) == {ACME.filename, EXTRAS.filename}


class Cut(BaseException):
    """The process is killed."""


def run_until(bucket: MemoryBucket, number: int) -> bool:
    """Promote, and die before so many operations; return whether it came to its end."""
    node = Node(bucket)
    node.find("staging"), node.find("prod")
    count = itertools.count(1)

    def before(_operation: Operation) -> None:
        if next(count) == number:
            raise Cut

    bucket.before = before
    try:
        promote(node)
    except Cut:
        return False
    finally:
        bucket.before = None
    return True


def test_wherever_it_is_cut_off_nothing_or_all_shows_and_repeating_it_completes_it(one_request: None):
    everything = {ACME.filename, EXTRAS.filename}
    for number in itertools.count(1):
        bucket = made()
        if run_until(bucket, number):
            break
        assert shown(bucket) in (set(), everything)
        promote(Node(bucket))
        assert shown(bucket) == everything
        assert bucket.content(f"prod/extras/{EXTRAS.filename}") == EXTRAS.content
        assert [key for key in left(bucket) if not key.endswith(".list")] == []
    assert number > 20


def test_wherever_it_is_cut_off_nothing_of_it_is_left_when_repeating_it_is_refused(one_request: None):
    for number in itertools.count(1):
        bucket = made()
        if run_until(bucket, number):
            break
        if shown(bucket):
            continue
        bucket.place("prod/extras/.archived", b"")
        with pytest.raises(PromotionRefused, match="archived"):
            promote(Node(bucket))
        assert shown(bucket) == set()
        kept = {"prod/.index.toml", "prod/extras/.archived"}
        assert {key for key in bucket.keys() if key.startswith("prod/") and ".list" not in key} == kept  # noqa: SIM118
    assert number > 20


def test_a_project_that_is_listed_while_files_come_shows_none_or_all_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", 0)
    second = make_wheel("acme", "1.0", tag="py2-none-any")
    bucket = made()
    add(bucket, "staging", second)
    seen = []

    def look(_operation: Operation) -> None:
        bucket.before = None
        files = Node(bucket).files("prod", "acme") or []
        seen.append(frozenset(file.filename for file in files))
        bucket.before = look

    node = Node(bucket)
    node.find("staging"), node.find("prod")
    bucket.before = look
    promote(node)
    bucket.before = None
    assert set(seen) == {frozenset(), frozenset({ACME.filename, second.filename})}


def test_while_the_store_fails_it_is_unavailable_and_the_same_request_completes_it(bucket: MemoryBucket):
    bucket.fail("create", f"prod/extras/{EXTRAS.filename}*", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    assert shown(bucket) == set()
    promote(Node(bucket))
    assert shown(bucket) == {ACME.filename, EXTRAS.filename}
    assert left(bucket) == []


def test_another_promotion_of_a_name_that_is_on_its_way_is_refused(bucket: MemoryBucket):
    bucket.fail("create", f"prod/extras/{EXTRAS.filename}*", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    with pytest.raises(PromotionRefused, match="The unfinished promotion"):
        promote(Node(bucket), "acme==1.0")


def test_a_node_that_goes_on_with_what_another_has_completed_changes_nothing(bucket: MemoryBucket):
    node, other = Node(bucket), Node(bucket)

    def overtake(operation: Operation) -> None:
        if operation.method == "create" and operation.key.startswith("prod/extras/"):
            bucket.before = None
            promote(other)
            answer(other.find("prod").store.delete, "acme", ACME.filename, by="alice")  # type: ignore[union-attr]

    bucket.before = overtake
    with pytest.raises((Conflict, PromotionRefused)):
        promote(node)
    assert shown(bucket) == {EXTRAS.filename}


def test_what_another_node_has_published_stays_though_its_source_is_gone(bucket: MemoryBucket):
    node, other = Node(bucket), Node(bucket)

    def overtake(operation: Operation) -> None:
        # All names are taken, and the rules are asked once more.
        if operation.key.startswith("staging") and f"prod/extras/{EXTRAS.filename}" in bucket.keys():  # noqa: SIM118
            bucket.before = None
            promote(other)
            for file in (ACME, EXTRAS):
                bucket.remove(f"staging/{file.project}/{file.filename}")

    bucket.before = overtake
    with pytest.raises(Conflict, match="completed or taken back meanwhile"):
        promote(node)
    assert shown(bucket) == {ACME.filename, EXTRAS.filename}


def test_a_large_file_that_another_upload_was_answered_for_is_not_taken_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ONE_REQUEST, "bytes", 10)
    bucket = made()
    bucket.fail("delete", "prod/.staged/*.list", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    claim = f"prod/acme/{ACME.filename}.claim"
    kept = json.dumps(json.loads(bucket.content(claim)) | {"decision": "kept"}).encode()
    bucket.place(claim, kept, bucket.metadata(claim))
    bucket.place("prod/extras/.archived", b"")
    with pytest.raises(PromotionRefused):
        promote(Node(bucket))
    assert shown(bucket) == {ACME.filename}


def test_an_upload_here_waits_for_a_promotion_to_its_project(bucket: MemoryBucket):
    bucket.keeps_conditions = False
    node = Node(bucket)
    store = node.find("prod").store
    assert isinstance(store, ObjectStore)
    store.editor.single_writer = True
    results: list[Any] = []

    def upload(operation: Operation) -> None:
        if operation == Operation("put", f"prod/acme/{ACME.filename}"):
            bucket.before = None
            spool = answer(store.spool)
            answer(spool.write, OTHER.content)
            store.publish(Upload(spool=spool, filename=OTHER.filename, index="prod")).addBoth(results.append)

    bucket.before = upload
    promote(node)
    assert bucket.content(f"prod/acme/{ACME.filename}") == ACME.content
    [result] = results
    assert isinstance(result, Failure)
    assert result.check(Conflict)


def test_large_files_of_another_bucket_are_refused_before_any_name_is_taken(monkeypatch: pytest.MonkeyPatch):
    source, target = made(), MemoryBucket("s3://other/indexes")
    add(target, "prod", settings="")
    store = Node(target).find("prod").store
    assert isinstance(store, ObjectStore)
    store.editor.one_request = len(ACME.content)
    with pytest.raises(PromotionRefused, match="too large to be promoted from another bucket"):
        answer(store.promote, Node(source).find("staging").store, ["acme==1.0", "extras==2.0"], by="rita")
    assert target.keys() == ["prod/.index.toml"]


@pytest.mark.parametrize("number", [0, 1], ids=["release", "target"])
def test_a_record_that_does_not_fit_its_index_or_its_releases_is_not_carried_out(number: int):
    bucket = made()
    bucket.fail("create", f"prod/extras/{EXTRAS.filename}*", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    key = next(key for key in left(bucket) if key.endswith("promotion.json"))
    cells = json.loads(bucket.content(key))
    forgeries: list[dict[str, Any]] = [{"releases": ["acme==1.0"]}, {"target": "other"}]
    forged = forgeries[number]
    bucket.place(key, json.dumps(cells | forged).encode())
    releases = forged.get("releases", RELEASES)
    with pytest.raises((Unavailable, PromotionRefused), match=r"cannot be read|repeat that promotion first"):
        promote(Node(bucket), *releases)
    assert shown(bucket) == set()


def test_what_was_deleted_after_a_promotion_that_was_not_finished_is_promoted_anew(bucket: MemoryBucket):
    bucket.fail("delete", "prod/.staged/*/promotion.json", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    for name in (ACME.filename, f"{ACME.filename}.claim"):
        if f"prod/acme/{name}" in bucket.keys():  # noqa: SIM118
            bucket.remove(f"prod/acme/{name}")
    outcome = promote(Node(bucket))
    assert [file.filename for file in outcome.published] == [ACME.filename]
    assert outcome.present == (EXTRAS.filename,)
    assert shown(bucket) == {ACME.filename, EXTRAS.filename}
    assert left(bucket) == []


@pytest.fixture(params=[1000, 0], ids=["listed whole", "listed by project"])
def listed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twisted_index.backends.object_store.listings._SMALL", request.param)


def stage(bucket: MemoryBucket, project: str, *names: str) -> None:
    """Write a list by hand, with the object that lets those who list a project look for it."""
    bucket.place("prod/.staged/x.list", "".join(f"{name}\n" for name in names).encode())
    bucket.place(f"prod/{project}/.staged-x")


def test_a_list_hides_files_and_what_lies_beside_them(listed: None):
    bucket = made()
    add(bucket, "prod", ACME)
    bucket.place(f"prod/acme/{ACME.filename}.yanked", b"broken")
    stage(bucket, "acme", f"{ACME.filename}.yanked")
    assert [file.yanked for file in Node(bucket).files("prod", "acme") or []] == [None]
    stage(bucket, "acme", f"{ACME.filename}.yanked", ACME.filename)
    assert Node(bucket).files("prod", "acme") is None


def test_a_list_hides_nothing_of_projects_without_its_marker(listed: None):
    bucket = made()
    add(bucket, "prod", ACME, EXTRAS)
    stage(bucket, "acme", ACME.filename, EXTRAS.filename)
    assert shown(bucket) == {EXTRAS.filename}


def test_a_list_hides_no_status_and_no_claim(listed: None):
    bucket = made()
    add(bucket, "prod", ACME)
    bucket.place("prod/acme/.quarantined", b"malware")
    bucket.place("prod/taken/.claimed", b"")
    stage(bucket, "acme", ".quarantined", ".claimed")
    bucket.place("prod/taken/.staged-x")
    node = Node(bucket)
    assert node.files("prod", "acme") == []
    assert node.files("prod", "taken") == []


def test_more_markers_than_promotions_ever_run_at_once_cost_no_requests(listed: None):
    bucket = made()
    add(bucket, "prod", ACME)
    for number in range(101):
        bucket.place(f"prod/acme/.staged-{number}")
    bucket.forget_operations()
    with pytest.raises(Unavailable, match="Delete those without"):
        Node(bucket).files("prod", "acme")
    assert bucket.operations["read"] < 10


# -- Problems


def problems_of(bucket: MemoryBucket) -> list[tuple[str, str, str]]:
    report = answer(Node(bucket).find("prod").source.problems)
    return [(each.path, each.reason, each.advice) for each in report.problems]


def begun(bucket: MemoryBucket) -> str:
    """Give the ID of the one promotion that has written something down."""
    (record,) = (key for key in left(bucket) if key.endswith("promotion.json"))
    return record.split("/")[2]


def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time_ns() + 3601 * 10**9
    monkeypatch.setattr(
        "twisted_index.backends.object_store.unfinished_promotions.time.time_ns", lambda: later
    )


def test_one_that_was_cut_off_an_hour_ago_is_a_problem(bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch):
    bucket.fail("create", f"prod/extras/{EXTRAS.filename}*", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    assert problems_of(bucket) == []
    an_hour_later(monkeypatch)
    running = begun(bucket)
    assert problems_of(bucket) == [
        (
            f".staged/{running}",
            "The promotion of acme==1.0, extras==2.0 from staging was cut off.",
            f"twisted-index promote --resume {running} completes it, --cancel {running} undoes it.",
        )
    ]
    promote(Node(bucket))
    assert problems_of(bucket) == []


def test_one_that_was_cut_off_when_all_was_shown_is_a_problem_that_is_completed(
    bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
):
    bucket.fail("delete", "prod/acme/.staged-*", times=3)
    with pytest.raises(Unavailable):
        promote(Node(bucket))
    an_hour_later(monkeypatch)
    ((_path, reason, advice),) = problems_of(bucket)
    assert reason.endswith(" was cut off; all its files are shown.")
    assert advice == f"twisted-index promote --resume {begun(bucket)} completes it."


def test_one_whose_record_is_none_is_a_problem_at_once(bucket: MemoryBucket):
    bucket.place("prod/.staged/odd/promotion.json", b"{}")
    ((path, reason, advice),) = problems_of(bucket)
    assert (path, reason) == (".staged/odd", "What the promotion odd has written down cannot be read.")
    assert ".staged/odd.list" in advice


def test_while_the_store_does_not_list_promotions_the_report_is_not_complete(bucket: MemoryBucket):
    bucket.fail("list_level", "*.staged", times=3)
    assert not answer(Node(bucket).find("prod").source.problems).complete
