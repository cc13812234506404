"""What of an upstream is there for clients."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kit.at_once import answer
from tests.kit.properties import examples
from twisted_index.backends.upstream.redirect import RedirectSource
from twisted_index.config.policy_entry import PolicyEntry
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import Found, Unavailable
from twisted_index.indexes.name_ownership import NameOwnershipSource
from twisted_index.indexes.upstream_policy import PolicySource
from twisted_index.interfaces import FileBody, ILifecycle, IProblemSource, ISource, Snapshot
from twisted_index.simple.model import ProjectPage, Sidecar, Status
from twisted_index.testing import IndexInMemory, MemorySource, SourceCall, make_sdist, make_wheel

DAY = 86400.0
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
WHEEL = make_wheel("demo", "1.0")
SDIST = make_sdist("demo", "1.0")
NEW = make_wheel("demo", "2.0")


class Calendar:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = EPOCH.timestamp()

    def __call__(self) -> float:
        return self.time

    def pass_days(self, days: float) -> None:
        self.time += days * DAY

    def days_ago(self, days: float) -> datetime:
        return datetime.fromtimestamp(self.time, UTC) - timedelta(days=days)


@pytest.fixture
def now() -> Calendar:
    return Calendar()


@pytest.fixture
def source() -> MemorySource:
    return MemorySource()


def filtered(source: Any, now: Calendar, seen: Any = None, **policy: Any) -> PolicySource:
    first_seen = (lambda _project, filename: (seen or {}).get(filename)) if seen is not None else None
    given = () if first_seen is None else (first_seen,)
    for name in policy.keys() & {"upstream_deny", "cooldown_except"}:
        policy[name] = tuple(
            one if isinstance(one, PolicyEntry) else PolicyEntry(match=one) for one in policy[name]
        )
    return PolicySource(source, UpstreamPolicy(**policy), now, *given)


def names(source: Any, project: str = "demo") -> list[str] | None:
    page = answer(source.project_page, project).value
    return None if page is None else [file.filename for file in page.files]


def reachable(source: Any, file: Any) -> bool:
    """Whether a file can be had in any way."""
    bodies = [answer(source.open_file, file.project, file.filename, kind) for kind in (None, *Sidecar)]
    return any(body is not None for body in bodies)


def test_it_keeps_the_contracts_of_a_source(source: MemorySource, now: Calendar):
    for contract in (ISource, IProblemSource, ILifecycle):
        assert verifyObject(contract, filtered(source, now))


def test_without_a_policy_everything_is_as_it_was(source: MemorySource, now: Calendar):
    source.add(WHEEL, yanked="broken", signature=b"signed")
    through = filtered(source, now)

    assert answer(through.project_page, "demo").value is source.project_page("demo").value
    assert answer(through.open_file, "demo", WHEEL.filename).content == WHEEL.content
    assert answer(through.open_file, "demo", WHEEL.filename, Sidecar.SIGNATURE).content == b"signed"
    assert answer(through.project_list).value.names == ("demo",)


def test_a_redirect_can_be_limited_to_names(now: Calendar):
    through = filtered(RedirectSource("https://example.org/"), now, upstream_only=["demo"])

    assert names(through, "other") is None
    assert not reachable(through, WHEEL)
    with pytest.raises(Found):
        names(through)


# -- Names


@pytest.mark.parametrize(
    "policy",
    [{"upstream_only": ["django", "numpy*"]}, {"upstream_deny": ["evil", "Demo"]}, {"upstream_deny": ["*"]}],
)
def test_a_name_that_is_left_out_is_not_there_and_not_asked_for(source, now, policy):
    source.add(WHEEL)
    through = filtered(source, now, **policy)

    page = answer(through.project_page, "demo")
    assert page.value is None
    assert page.is_current()
    assert not reachable(through, WHEEL)
    assert source.calls == []


def test_a_name_that_is_let_in_may_be_denied_all_the_same(source, now):
    source.add(WHEEL)

    assert names(filtered(source, now, upstream_only=["d*"])) == [WHEEL.filename]
    assert names(filtered(source, now, upstream_only=["d*"], upstream_deny=["demo"])) is None


# -- Versions and kinds


def test_denied_versions_are_not_there(source, now):
    source.add(WHEEL)
    source.add(NEW)
    candidate = source.add(make_wheel("demo", "2.1rc1"))
    through = filtered(source, now, upstream_deny=["demo>=2"])

    assert names(through) == [WHEEL.filename]
    assert answer(through.project_page, "demo").value.versions == ("1.0",)
    assert not reachable(through, NEW)
    assert not reachable(through, candidate)
    assert reachable(through, WHEEL)


def test_a_project_whose_versions_are_all_denied_is_there_without_files(source, now):
    source.add(WHEEL)

    assert names(filtered(source, now, upstream_deny=["demo>=0"])) == []


def test_sdists_can_be_left_out(source, now):
    source.add(WHEEL)
    source.add(SDIST)
    alone = source.add(make_sdist("demo", "0.9"))
    through = filtered(source, now, no_sdists=True)

    assert names(through) == [WHEEL.filename]
    assert answer(through.project_page, "demo").value.versions == ("1.0",)
    assert not reachable(through, SDIST)
    assert not reachable(through, alone)


def test_yanks_and_statuses_stay(source, now):
    source.add(WHEEL, yanked="broken")
    source.set_status("demo", Status.DEPRECATED, "old")
    through = filtered(source, now, no_sdists=True)

    page = answer(through.project_page, "demo").value
    assert page.files[0].yanked.reason == "broken"
    assert page.status.reason == "old"


@implementer(ISource)
class Pages:
    """A source of pages that were made by hand."""

    def __init__(self, *pages: ProjectPage) -> None:
        self.pages = {page.name: page for page in pages}

    def project_list(self) -> None:
        raise NotImplementedError

    def project_page(self, project: str) -> Snapshot[Any]:
        return Snapshot(value=self.pages.get(project), is_current=lambda: True, cache_status="hit")

    def open_file(self, project: str, filename: str, sidecar: Any = None) -> FileBody | None:
        return FileBody(content=filename.encode(), size=1, sha256=None, modified=0)


def test_a_version_without_files_stays_unless_it_is_denied_or_may_be_too_young(source, now):
    source.add(WHEEL)
    page = replace(source.project_page("demo").value, versions=("0.5", "1.0.0", "3.0"))

    def versions(**policy: Any) -> tuple[str, ...]:
        return answer(filtered(Pages(page), now, **policy).project_page, "demo").value.versions

    assert versions(no_sdists=True) == ("0.5", "1.0.0", "3.0")
    assert versions(upstream_deny=["demo>2"]) == ("0.5", "1.0.0")
    assert versions(cooldown=DAY) == ("1.0.0",)


def test_how_a_cache_came_by_a_page_is_told_on(source, now):
    source.add(WHEEL)
    through = filtered(Pages(source.project_page("demo").value), now, no_sdists=True)

    assert answer(through.project_page, "demo").cache_status == "hit"


# -- The cool-down


def test_a_file_is_there_when_it_has_been_public_for_a_while(source, now):
    source.add(WHEEL, upload_time=now.days_ago(8))
    source.add(NEW, upload_time=now.days_ago(5))
    through = filtered(source, now, cooldown=7 * DAY)

    page = answer(through.project_page, "demo")
    assert [file.filename for file in page.value.files] == [WHEEL.filename]
    assert page.value.versions == ("1.0",)
    assert not reachable(through, NEW)
    assert reachable(through, WHEEL)

    now.pass_days(1.99)
    assert page.is_current()
    now.pass_days(0.01)
    assert not page.is_current()
    assert names(through) == [WHEEL.filename, NEW.filename]
    assert reachable(through, NEW)


def test_a_page_is_the_very_same_until_a_file_comes_of_age(source, now):
    source.add(WHEEL, upload_time=now.days_ago(8))
    source.add(NEW, upload_time=now.days_ago(5))
    through = filtered(source, now, cooldown=7 * DAY)

    page = answer(through.project_page, "demo").value
    now.pass_days(1)
    assert answer(through.project_page, "demo").value is page
    now.pass_days(1)
    grown = answer(through.project_page, "demo").value
    assert grown is not page
    now.pass_days(1)
    assert answer(through.project_page, "demo").value is grown


def test_an_answer_ends_with_that_of_the_source(source, now):
    source.add(WHEEL, upload_time=now.days_ago(8))
    page = answer(filtered(source, now, cooldown=7 * DAY).project_page, "demo")
    source.add(NEW, upload_time=now.days_ago(9))

    assert not page.is_current()


def test_a_clock_that_is_set_back_ends_an_answer(source, now):
    source.add(WHEEL, upload_time=now.days_ago(8))
    through = filtered(source, now, cooldown=7 * DAY)
    page = answer(through.project_page, "demo")
    now.pass_days(-3)

    assert not page.is_current()
    assert names(through) == []


def test_a_file_without_a_date_is_as_old_as_it_has_been_known(source, now):
    source.add(WHEEL, upload_time=None)
    source.add(NEW, upload_time=None)
    seen = {WHEEL.filename: now() - 8 * DAY, NEW.filename: now() - 5 * DAY}
    through = filtered(source, now, seen, cooldown=7 * DAY)

    assert names(through) == [WHEEL.filename]
    assert not reachable(through, NEW)
    now.pass_days(2)
    assert names(through) == [WHEEL.filename, NEW.filename]


def test_the_date_of_the_upstream_counts_before_what_is_known_here(source, now):
    source.add(WHEEL, upload_time=now.days_ago(8))

    assert names(filtered(source, now, {WHEEL.filename: now()}, cooldown=7 * DAY)) == [WHEEL.filename]


def test_a_file_of_which_nobody_knows_the_age_is_young(source, now):
    source.add(WHEEL, upload_time=None)
    through = filtered(source, now, cooldown=7 * DAY)
    now.pass_days(30)

    assert names(through) == []
    assert not reachable(through, WHEEL)


def test_what_the_cool_down_holds_back_is_a_problem_until_it_is_there(source, now):
    source.add(WHEEL, upload_time=None)
    source.add(SDIST, upload_time=None)
    seen = {WHEEL.filename: now.time, SDIST.filename: now.time - DAY}
    whole = NameOwnershipSource(MemorySource(), filtered(source, now, seen, cooldown=7 * DAY))
    answer(whole.project_page, "demo")

    (problem,) = answer(whole.problems).problems
    assert problem.path == "demo/"
    assert problem.reason == (
        "2 files are held back by the cool-down; the first is released at 2024-01-07 00:00 UTC. Those without"
        " an upload time count as new from when this server first saw them."
    )
    assert "cooldown-except" in problem.advice
    now.pass_days(6)
    answer(whole.project_page, "demo")
    assert answer(whole.problems).problems[0].reason.startswith("1 file is held back")
    now.pass_days(1)
    answer(whole.project_page, "demo")
    assert answer(whole.problems).problems == ()


def test_a_page_that_the_cool_down_empties_is_logged_once(source, now, monkeypatch):
    said = []
    monkeypatch.setattr(
        "twisted_index.indexes.upstream_policy._log.warn",
        lambda form, **fields: said.append(form.format(**fields)),
    )
    source.add(WHEEL, upload_time=now.days_ago(1))
    upstream = filtered(source, now, cooldown=7 * DAY)
    for _ in range(3):
        assert answer(upstream.project_page, "demo").value.files == ()

    assert said == [
        "demo has no visible files for now: 1 file is held back by the cool-down; the first is released at"
        " 2024-01-07 00:00 UTC."
    ]


def test_names_may_be_excepted_from_the_cool_down(source, now):
    source.add(WHEEL, upload_time=now.days_ago(0))

    assert names(filtered(source, now, cooldown=DAY, cooldown_except=["De*"])) == [WHEEL.filename]


def test_versions_may_be_excepted_from_the_cool_down(source, now):
    for file in (WHEEL, SDIST, NEW, make_wheel("other", "1.0")):
        source.add(file, upload_time=now.days_ago(0))
    through = filtered(source, now, cooldown=DAY, cooldown_except=["demo==1.0", "other<1"])

    assert names(through) == [WHEEL.filename, SDIST.filename]
    assert answer(through.project_page, "demo").value.versions == ("1.0",)
    assert reachable(through, WHEEL)
    assert not reachable(through, NEW)
    assert names(through, "other") == []


def test_a_version_that_cannot_be_compared_is_no_exception_and_is_denied(source, now):
    source.add(WHEEL)
    old = source.project_page("demo").value
    page = replace(old, files=(replace(old.files[0], version="what"),), versions=("what",))

    assert names(filtered(Pages(page), now, cooldown=9999 * DAY, cooldown_except=["demo>=0"])) == []
    assert names(filtered(Pages(page), now, upstream_deny=["demo>=0"])) == []
    assert names(filtered(Pages(page), now, cooldown=9999 * DAY, cooldown_except=["demo"])) == [
        WHEEL.filename
    ]


# -- What ends


def entry(match: str, now: Calendar, days: float | None, reason: str = "") -> PolicyEntry:
    """Make an entry that ends some days from now."""
    return PolicyEntry(match=match, until=None if days is None else now.days_ago(-days), reason=reason)


@pytest.mark.parametrize("match", ["demo", "demo==1.0", "d*>=1"])
def test_an_exception_ends_in_every_way_at_its_time(source, now, match):
    source.add(WHEEL, upload_time=now.days_ago(0))
    through = filtered(source, now, cooldown=30 * DAY, cooldown_except=[entry(match, now, 2)])
    page = answer(through.project_page, "demo")
    assert [file.filename for file in page.value.files] == [WHEEL.filename]
    assert reachable(through, WHEEL)

    now.pass_days(1.9999)
    assert page.is_current()
    assert reachable(through, WHEEL)
    now.pass_days(0.0001)
    assert not page.is_current()
    assert names(through) == []
    assert not reachable(through, WHEEL)
    now.pass_days(28)
    assert names(through) == [WHEEL.filename]


@pytest.mark.parametrize("match", ["demo", "demo==1.0", "d*>=1"])
def test_a_denial_ends_in_every_way_at_its_time(source, now, match):
    source.add(WHEEL, upload_time=now.days_ago(9))
    through = filtered(source, now, upstream_deny=[entry(match, now, 2)])
    page = answer(through.project_page, "demo")
    assert not names(through)
    assert not reachable(through, WHEEL)

    now.pass_days(1.9999)
    assert page.is_current()
    now.pass_days(0.0001)
    assert not page.is_current()
    assert names(through) == [WHEEL.filename]
    assert reachable(through, WHEEL)
    now.pass_days(-1)
    assert not names(through)


def test_a_file_is_not_opened_again_when_its_exception_has_ended(source, now):
    source.add(WHEEL, upload_time=now.days_ago(0))
    page = source.project_page("demo").value

    class Reopening(Pages):
        def open_file(self, *args: Any) -> FileBody | None:
            return FileBody(
                content=b"x", size=1, sha256=None, modified=0, reopen=lambda: self.open_file(*args)
            )

    excepted = [entry("demo", now, 2)]
    through = filtered(Reopening(page), now, cooldown=30 * DAY, cooldown_except=excepted)
    body = answer(through.open_file, "demo", WHEEL.filename)
    assert body.reopen() is not None
    now.pass_days(2)
    assert body.reopen() is None


def test_an_exception_that_ends_while_the_upstream_is_asked_has_ended(source, now):
    source.add(WHEEL, upload_time=now.days_ago(0))
    full, waiting = source.project_page("demo"), Deferred()

    class Slow(Pages):
        def project_page(self, project: str) -> Any:
            return waiting

    through = filtered(Slow(), now, cooldown=30 * DAY, cooldown_except=[entry("demo", now, 2)])
    page = Deferred.fromCoroutine(through.project_page("demo"))
    now.pass_days(2)
    waiting.callback(full)
    assert SynchronousTestCase().successResultOf(page).value.files == ()


def test_a_denial_is_told_with_its_reason(source, now):
    source.add(WHEEL)
    source.add(NEW)
    denied = [entry("demo>=2", now, 2, "CVE-1"), entry("evil", now, None, "typosquat of eval.")]
    whole = NameOwnershipSource(MemorySource(), filtered(source, now, upstream_deny=denied))
    absent = answer(whole.project_page, "evil")
    answer(whole.project_page, "demo")

    assert absent.absence == "It is denied by upstream-deny: typosquat of eval."
    (problem,) = answer(whole.problems).problems
    assert problem.path == "demo/"
    assert problem.reason == (
        "1 file is denied by the entry 'demo>=2' of upstream-deny until 2024-01-03 00:00 UTC: CVE-1."
    )
    now.pass_days(2)
    answer(whole.project_page, "demo")
    assert answer(whole.problems).problems == ()


def test_a_redirect_of_a_denied_name_ends_its_denial_too(now: Calendar):
    through = filtered(RedirectSource("https://example.org/"), now, upstream_deny=[entry("demo", now, 2)])
    absent = answer(through.project_page, "demo")
    assert absent.is_current()
    now.pass_days(2)
    assert not absent.is_current()
    with pytest.raises(Found):
        names(through)


def test_what_the_fast_path_has_prepared_ends_with_the_entry(source, now):
    source.add(WHEEL, upload_time=now.days_ago(0))
    source.add(make_wheel("evil", "1.0"), upload_time=now.days_ago(99))
    policy = {
        "cooldown_except": [entry("demo", now, 2)],
        "upstream_deny": [entry("evil", now, 2, "CVE-2026-1")],
    }
    index = IndexInMemory(filtered(source, now, cooldown=30 * DAY, **policy))
    json_page = {"Accept": "application/vnd.pypi.simple.v1+json"}

    def seen(project: str) -> tuple[int, bool, bool]:
        reply = index.get(f"/simple/{project}/", headers=json_page)
        return reply.status, b".whl" in reply.body, b"CVE-2026-1" in reply.body

    for _again in range(3):
        assert seen("demo") == (200, True, False)
        assert seen("evil") == (404, False, True)
        assert index.get(f"/simple/demo/{WHEEL.filename}").status == 200
    now.pass_days(2)
    for _again in range(3):
        assert seen("demo") == (200, False, False)
        assert seen("evil") == (200, True, False)
        assert index.get(f"/simple/demo/{WHEEL.filename}").status == 404


def test_a_date_in_the_future_is_not_old(source, now):
    source.add(WHEEL, upload_time=now.days_ago(-400))

    assert names(filtered(source, now, cooldown=DAY)) == []


def test_a_file_is_not_opened_again_when_it_is_no_longer_listed(source, now):
    source.add(WHEEL, upload_time=now.days_ago(8))
    page = source.project_page("demo").value

    class Reopening(Pages):
        def open_file(self, project: str, filename: str, sidecar: Any = None) -> FileBody | None:
            return FileBody(
                content=b"x",
                size=1,
                sha256=None,
                modified=0,
                reopen=lambda: self.open_file(project, filename, sidecar),
            )

    body = answer(filtered(Reopening(page), now, cooldown=7 * DAY).open_file, "demo", WHEEL.filename)
    assert body.reopen() is not None
    assert body.reopen().reopen() is not None
    again = body.reopen()
    now.pass_days(-3)
    assert body.reopen() is None
    assert again.reopen() is None


def test_an_error_of_the_source_is_an_error(source, now):
    source.failure = Unavailable("It is down.")
    through = filtered(source, now, cooldown=DAY)

    with pytest.raises(Unavailable):
        names(through)
    with pytest.raises(Unavailable):
        reachable(through, WHEEL)


# -- Any upstream and any policy

made = st.builds(
    lambda make, project, version: make(project, version),
    st.sampled_from([make_wheel, make_sdist]),
    st.sampled_from(["demo", "other", "evil"]),
    st.sampled_from(["1.0", "2.0a1", "3"]),
)
ages = st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 1.0, 2.0, 2.001, 3.0, 9.0]))
lists = st.lists(st.sampled_from(["demo", "ot*", "*"]), max_size=1)
denials = st.lists(st.sampled_from(["evil", "demo>=2", "other<3", "demo!=1.0"]), max_size=2)
ends = st.sampled_from([None, -1.0, 1.0, 3.0, 5.0])
timed = st.lists(st.tuples(st.sampled_from(["demo", "demo==1.0", "demo>=2", "*<3"]), ends), max_size=3)


def covers(match: str, version: str) -> bool:
    """Whether an entry of the strategy above is about a version of demo, in other words."""
    return {
        "demo": True,
        "*<3": version != "3",
        "demo==1.0": version == "1.0",
        "demo>=2": version == "3",
    }[match]


def listed(page: Snapshot[Any]) -> set[str]:
    return {file.filename for file in page.value.files} if page.value is not None else set()


@examples(200)
@given(
    st.lists(st.tuples(st.sampled_from(["1.0", "2.0a1", "3"]), st.sampled_from([0.0, 9.0])), max_size=3),
    timed,
    timed,
    st.lists(st.sampled_from([0.5, 1.0, 2.0]), max_size=5),
)
def test_at_any_time_only_the_entries_of_that_time_count(files, denied, excepted, steps):
    now, source = Calendar(), MemorySource()
    ages = dict(files)
    for version, age in ages.items():
        source.add(make_wheel("demo", version), upload_time=now.days_ago(age))
    through = filtered(
        source,
        now,
        cooldown=4 * DAY,
        upstream_deny=[entry(match, now, days) for match, days in denied],
        cooldown_except=[entry(match, now, days) for match, days in excepted],
    )
    passed, kept = 0.0, []
    for step in (0.0, *steps):
        passed += step
        now.pass_days(step)

        def counts(entries: Any, version: str, passed: float = passed) -> bool:
            return any(covers(match, version) and (days is None or passed < days) for match, days in entries)

        expected = {
            f"demo-{version}-py3-none-any.whl"
            for version, age in ages.items()
            if not counts(denied, version) and (age + passed >= 4 or counts(excepted, version))
        }
        for page in kept:
            # What was prepared before and still holds is what would be made now.
            if page.is_current():
                assert (
                    {file.filename for file in page.value.files} == expected if page.value else not expected
                )
        page = answer(through.project_page, "demo")
        kept.append(page)
        assert {file.filename for file in page.value.files} == expected if page.value else not expected
        for version in ages:
            file = make_wheel("demo", version)
            assert reachable(through, file) is (file.filename in expected)


@examples(200)
@given(
    st.lists(st.tuples(made, ages, ages), max_size=6, unique_by=lambda one: one[0].filename),
    lists,
    denials,
    lists,
    st.sampled_from([0.0, 2 * DAY]),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 5.0]),
)
def test_what_is_left_out_is_reachable_in_no_way(files, only, deny, excepted, cooldown, no_sdists, later):
    now, source, seen = Calendar(), MemorySource(), {}
    for file, age, known in files:
        source.add(file, upload_time=None if age is None else now.days_ago(age), signature=b"signed")
        if known is not None:
            seen[file.filename] = now() - known * DAY
    policy = {"upstream_only": only, "upstream_deny": deny, "cooldown": cooldown, "no_sdists": no_sdists}
    through = filtered(source, now, seen, cooldown_except=excepted, **policy)
    before = {project: answer(through.project_page, project) for project in ("demo", "other", "evil")}
    now.pass_days(later)

    for file, age, known in files:
        # What a person would say of the file, in other words than those of the source.
        since = age if age is not None else known
        excused = (
            "*" in excepted or file.project in excepted or (file.project == "other" and "ot*" in excepted)
        )
        young = cooldown > 0 and not excused and (since is None or (since + later) * DAY < cooldown)
        named = not only or "*" in only or file.project in only or (file.project == "other" and "ot*" in only)
        denied = (
            ("evil" in deny and file.project == "evil")
            or ("demo>=2" in deny and file.project == "demo" and file.version == "3")
            or ("other<3" in deny and file.project == "other" and file.version != "3")
            or ("demo!=1.0" in deny and file.project == "demo" and file.version != "1.0")
        )
        # 2.0a1 is before 2, as PEP 440 orders them.
        hidden = young or not named or denied or (no_sdists and file.filename.endswith(".tar.gz"))
        listed = names(through, file.project) or []
        assert (file.filename in listed) is not hidden
        assert reachable(through, file) is not hidden
        page = answer(through.project_page, file.project).value
        kept = {one.version for one in page.files} if page else set()
        assert set(page.versions if page else ()) == kept
        still = before[file.project]
        if still.is_current():
            assert still.value is page
    if only == ["demo"]:
        assert {question.project for question in source.calls} <= {"demo"}
    assert SourceCall(method="project_list") not in source.calls
