"""Which files of a page the rules of a mirror take."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.version import Version

from tests.kit.properties import examples
from tests.mirror.pages import DAY, NOW, page, remote
from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.mirror.choice import Learned, choose
from twisted_index.mirror.rules import Need, RuleSet, SelectRule
from twisted_index.simple.names import DistributionType, parse_filename


def versions(found: RemotePage, rules: RuleSet, learned: Learned | None = None) -> list[str]:
    return sorted({file.file.version for file in choose(found, rules, NOW, learned).files}, key=Version)


def rule(**values: object) -> RuleSet:
    return RuleSet(rules=(SelectRule(number=1, projects=("*",), **values),))  # type: ignore[arg-type]


def why(found: RemotePage, rules: RuleSet) -> dict[str, str]:
    return {verdict.filename: verdict.reason for verdict in choose(found, rules, NOW).verdicts}


def test_no_rules_take_everything():
    assert versions(page("1.0", "2.0a1", remote("demo-1.1.tar.gz")), RuleSet()) == ["1.0", "1.1", "2.0a1"]


def test_a_rule_takes_the_versions_of_its_specifiers():
    assert versions(page("1.0", "1.5", "2.0"), rule(versions=SpecifierSet(">=1.1,<2"))) == ["1.5"]


def test_pre_releases_are_taken_as_pip_takes_them():
    found = page("1.0", "2.0a1", "2.0.dev1")
    assert versions(found, rule()) == ["1.0"]
    assert versions(found, rule(prereleases=True)) == ["1.0", "2.0.dev1", "2.0a1"]
    assert versions(found, rule(versions=SpecifierSet(">=2.0a0"))) == ["2.0a1"]
    # No final release fits.
    assert versions(page("1.0b1", "1.0b2"), rule()) == ["1.0b1", "1.0b2"]


def test_the_latest_are_those_that_fit_otherwise():
    found = page("1.0", "1.1", remote("demo-1.2-cp312-cp312-win_amd64.whl"))
    assert versions(found, rule(latest=1)) == ["1.2"]
    assert versions(found, rule(latest=1, platforms=("manylinux_2_28_x86_64",))) == ["1.1"]


def test_the_latest_of_each_minor_version_keep_fixes_of_older_lines():
    found = page("1.0.1", "1.0.2", "1.1.0", "2.0.0", "2.0.1")
    assert versions(found, rule(latest_per_minor=1)) == ["1.0.2", "1.1.0", "2.0.1"]


def test_with_both_limits_a_release_is_taken_if_one_takes_it():
    found = page("1.0.1", "1.0.2", "2.0.0", "2.0.1")
    assert versions(found, rule(latest=2, latest_per_minor=1)) == ["1.0.2", "2.0.0", "2.0.1"]


def test_pre_releases_do_not_count_as_the_latest_finals():
    found = page("1.0", "2.0", "3.0.dev1", "3.0.dev2")
    assert versions(found, rule(latest=1, prereleases=True)) == ["2.0", "3.0.dev2"]


def test_a_yanked_release_is_taken_but_not_counted():
    found = page("1.0", "2.0", remote("demo-3.0-py3-none-any.whl", yanked=True))
    assert versions(found, rule(latest=1)) == ["2.0", "3.0"]


def test_a_yanked_file_keeps_its_mark():
    yanked = remote("demo-3.0-py3-none-any.whl", yanked=True)
    assert choose(page(yanked), rule(), NOW).files == (yanked,)


def test_a_rule_takes_files_of_its_kinds_pythons_platforms_and_sizes():
    found = page(
        remote("demo-1.0.tar.gz"),
        remote("demo-1.0-py3-none-any.whl", requires_python=">=3.13"),
        remote("demo-1.0-cp312-cp312-win_amd64.whl"),
        remote("demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"),
        remote("demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", size=5_000_001),
    )
    rules = rule(
        kinds=frozenset({DistributionType.WHEEL}),
        pythons=("3.11", "3.12"),
        platforms=("manylinux_2_28_x86_64",),
        max_size=5_000_000,
    )
    assert why(found, rules) == {
        "demo-1.0.tar.gz": "rule 1: an sdist",
        "demo-1.0-py3-none-any.whl": "rule 1: not for Python 3.11, 3.12",
        "demo-1.0-cp312-cp312-win_amd64.whl": "rule 1: not for manylinux_2_28_x86_64",
        "demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl": "rule 1",
        "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl": "rule 1: 5.0 MB are more than its max-size",
    }


def test_files_younger_than_the_cool_down_are_left():
    found = page("1.0", remote("demo-1.1-py3-none-any.whl", age=6 * DAY))
    assert versions(found, RuleSet(cooldown=7 * DAY)) == ["1.0"]
    reason = why(found, RuleSet(cooldown=7 * DAY))["demo-1.1-py3-none-any.whl"]
    assert reason.endswith("in its cool-down until 2023-11-15 22:13 UTC")


def test_a_file_without_upload_time_counts_from_when_it_was_first_seen():
    undated = remote("demo-1.0-py3-none-any.whl", age=None)
    rules = RuleSet(cooldown=7 * DAY)
    assert versions(page(undated), rules) == []
    seen = {undated.file.filename: NOW - 8 * DAY}
    assert versions(page(undated), rules, Learned(first_seen=seen)) == ["1.0"]


def test_a_file_of_unknown_size_is_pointed_out_where_its_size_matters():
    unsized = remote("demo-1.0-py3-none-any.whl", size=None)
    assert choose(page(unsized), rule(max_size=10), NOW).unsized == (unsized,)
    assert choose(page(unsized), rule(), NOW).unsized == ()
    large = Learned(sizes={unsized.file.filename: 11})
    assert choose(page(unsized), rule(max_size=10), NOW, large).files == ()


def test_of_equal_files_the_first_by_name_is_taken():
    found = page(remote("demo-1.0.0-py3-none-any.whl"), remote("demo-1.0-py3-none-any.whl"))
    (taken,) = choose(found, RuleSet(), NOW).files
    assert taken.file.filename == "demo-1.0-py3-none-any.whl"
    assert why(found, RuleSet())["demo-1.0.0-py3-none-any.whl"].endswith(
        "the same as demo-1.0-py3-none-any.whl"
    )


# -- How rules combine


def test_the_first_rule_that_matches_a_project_decides():
    rules = RuleSet(
        rules=(
            SelectRule(number=1, projects=("demo",), versions=SpecifierSet("<2")),
            SelectRule(number=2, projects=("*",)),
        )
    )
    assert versions(page("1.0", "2.0"), rules) == ["1.0"]
    assert versions(page("1.0", "2.0", project="other"), rules) == ["1.0", "2.0"]


def _with_needs(*rules: SelectRule, **needs: Need) -> RuleSet:
    required = {
        rule.number: {name: (need,)} for rule in rules if rule.requirements for name, need in needs.items()
    }
    return RuleSet(rules=rules, needs=required)


def test_requirements_add_to_what_a_rule_of_projects_takes():
    latest, required = (
        SelectRule(number=1, projects=("demo",), latest=1),
        SelectRule(number=2, requirements=("r.txt",)),
    )
    for rules in ((latest, required), (required, latest)):
        found = _with_needs(*rules, demo=Need(versions=SpecifierSet("==1.0")))
        assert versions(page("1.0", "2.0", "3.0"), found) == ["1.0", "3.0"]


def test_a_project_that_no_rule_names_is_taken_as_far_as_requirements_need_it():
    rules = _with_needs(
        SelectRule(number=1, projects=("other",)),
        SelectRule(number=2, requirements=("r.txt",)),
        demo=Need(versions=SpecifierSet("<3")),
    )
    assert versions(page("1.0", "2.0", "3.0"), rules) == ["1.0", "2.0"]
    assert choose(page("1.0", project="third"), rules, NOW).files == ()
    assert why(page("1.0", project="third"), rules) == {
        "third-1.0-py3-none-any.whl": "no rule is about the project"
    }


def test_each_of_several_needs_takes_its_files():
    rules = RuleSet(
        rules=(SelectRule(number=1, requirements=("r.txt",), latest=1),),
        needs={1: {"demo": (Need(versions=SpecifierSet("<2")), Need(versions=SpecifierSet(">=2")))}},
    )
    assert versions(page("1.0", "1.1", "2.0", "2.1"), rules) == ["1.1", "2.1"]


def test_a_need_with_digests_takes_only_the_files_that_have_one_of_them():
    wheel = remote("demo-1.0-py3-none-any.whl")
    rules = _with_needs(
        SelectRule(number=1, requirements=("uv.lock",)),
        demo=Need(
            versions=SpecifierSet("==1.0"), hashes=frozenset({f"sha256:{wheel.file.hashes['sha256']}"})
        ),
    )
    assert choose(page(wheel, remote("demo-1.0.tar.gz")), rules, NOW).files == (wheel,)


def test_a_rule_that_skips_a_project_skips_it_for_requirements_too():
    rules = _with_needs(
        SelectRule(number=1, projects=("demo",), skip=True),
        SelectRule(number=2, requirements=("r.txt",)),
        demo=Need(),
    )
    assert why(page("1.0"), rules) == {"demo-1.0-py3-none-any.whl": "rule 1 skips the project"}
    assert rules.named() == frozenset()


def test_an_exception_stands_before_what_skips():
    rules = RuleSet(
        rules=(
            SelectRule(number=1, projects=("acme-good",)),
            SelectRule(number=2, projects=("acme-*",), skip=True),
            SelectRule(number=3, projects=("*",)),
        )
    )
    assert rules.matching({"acme-good": None, "acme-bad": None, "demo": None}) == {"acme-good", "demo"}


def test_names_without_wildcards_need_no_list_of_projects():
    assert not RuleSet(rules=(SelectRule(number=1, projects=("demo",)),)).needs_list
    assert not RuleSet(rules=(SelectRule(number=1, requirements=("r.txt",)),)).needs_list
    assert not RuleSet(rules=(SelectRule(number=1, projects=("acme-*",), skip=True),)).needs_list
    assert RuleSet(rules=(SelectRule(number=1, projects=("acme-*",)),)).needs_list
    assert RuleSet().needs_list


# -- Properties

_VERSIONS = ["0.9", "1.0", "1.0.0", "1.0.1", "1.0.2", "1.0+cpu", "1.1", "2.0a1", "2.0.dev1", "2.0", "2!0.1"]
_TAGS = [
    "py3-none-any",
    "cp312-cp312-manylinux_2_17_x86_64",
    "cp312-cp312-win_amd64",
    "cp311-abi3-manylinux_2_28_x86_64",
]
_names = st.builds("demo-{}-{}.whl".format, st.sampled_from(_VERSIONS), st.sampled_from(_TAGS)) | st.builds(
    "demo-{}.tar.gz".format, st.sampled_from(_VERSIONS)
)
_pages = st.lists(
    st.builds(
        remote,
        _names,
        size=st.sampled_from([10, 100]),
        age=st.sampled_from([DAY, 100 * DAY]),
        requires_python=st.sampled_from([None, ">=3.12", "<3"]),
        yanked=st.booleans(),
    ),
    unique_by=lambda file: file.file.filename,
    max_size=12,
).map(lambda files: page(*files))
_specifiers = st.none() | st.sampled_from([">=1.0", "<2", "==1.*", ">=2.0a1", "!=1.0"]).map(SpecifierSet)
_filters = {
    "prereleases": st.booleans(),
    "latest": st.none() | st.integers(1, 3),
    "latest_per_minor": st.none() | st.integers(1, 2),
    "kinds": st.sets(st.sampled_from(list(DistributionType)), min_size=1).map(frozenset),
    "pythons": st.sampled_from([(), ("3.12",), ("3.10", "3.11")]),
    "platforms": st.sampled_from([(), ("any",), ("manylinux_2_17_x86_64",), ("win_amd64", "any")]),
    "max_size": st.none() | st.just(50),
}
_rules = st.lists(
    st.builds(
        SelectRule,
        number=st.just(0),
        projects=st.sampled_from([("demo",), ("other",), ("d*",)]),
        versions=_specifiers,
        **_filters,
    )
    | st.builds(SelectRule, number=st.just(0), requirements=st.just(("r.txt",)), **_filters)
    | st.builds(
        SelectRule, number=st.just(0), projects=st.sampled_from([("demo",), ("x",)]), skip=st.just(True)
    ),
    max_size=4,
)


@st.composite
def _rule_sets(draw: st.DrawFn) -> RuleSet:
    numbered = []
    for number, one in enumerate(draw(_rules), 1):
        values = {name: getattr(one, name) for name in SelectRule.__slots__}
        numbered.append(SelectRule(**{**values, "number": number}))
    needs = {
        one.number: {
            "demo": tuple(draw(st.lists(st.builds(Need, versions=_specifiers), min_size=1, max_size=2)))
        }
        for one in numbered
        if one.requirements and draw(st.booleans())
    }
    return RuleSet(rules=tuple(numbered), cooldown=draw(st.sampled_from([0.0, 7 * DAY])), needs=needs)


def _naive(found: RemotePage, rules: RuleSet) -> set[str]:
    """What the documents say, word for word and file by file."""
    firsts: dict[str, RemoteFile] = {}
    for file in sorted(found.files, key=lambda file: file.file.filename):
        firsts.setdefault(file.file.filename.replace("-1.0.0", "-1.0"), file)
    old_enough = [
        file
        for file in firsts.values()
        if not rules.cooldown or file.file.upload_time <= datetime.fromtimestamp(NOW - rules.cooldown, UTC)  # type: ignore[operator]
    ]
    if not rules.rules:
        return {file.file.filename for file in old_enough}
    named = [one for one in rules.rules if {"demo", "d*"} & set(one.projects)]
    if named and named[0].skip:
        return set()
    taken = (
        {file.file.filename for file in _naive_rule(named[0], named[0].versions, old_enough)}
        if named
        else set()
    )
    for one in rules.rules:
        for need in rules.needs.get(one.number, {}).get("demo", ()):
            taken |= {file.file.filename for file in _naive_rule(one, need.versions, old_enough)}
    return taken


def _naive_rule(one: SelectRule, wanted: SpecifierSet | None, files: list[RemoteFile]) -> list[RemoteFile]:
    fitting = [file for file in files if _naive_fits(one, wanted or SpecifierSet(), file)]
    asks = one.prereleases or any(
        Version(spec.version.removesuffix(".*")).is_prerelease for spec in wanted or ()
    )
    if not asks:
        finals = [file for file in fitting if not Version(file.file.version).is_prerelease]
        fitting = finals or fitting
    if one.latest is None and one.latest_per_minor is None:
        return fitting
    return [file for file in fitting if _naive_is_latest(one, file, fitting)]


def _naive_is_latest(one: SelectRule, file: RemoteFile, files: list[RemoteFile]) -> bool:
    def public(other: RemoteFile) -> Version:
        return Version(Version(other.file.version).public)

    version = public(file)
    newer = {
        public(other)
        for other in files
        if public(other) > version
        and version.is_prerelease == public(other).is_prerelease
        and other.file.yanked is None
    }
    same = {
        other for other in newer if (other.epoch, other.release[:2]) == (version.epoch, version.release[:2])
    }
    return (one.latest is not None and len(newer) < one.latest) or (
        one.latest_per_minor is not None and len(same) < one.latest_per_minor
    )


def _naive_fits(one: SelectRule, wanted: SpecifierSet, file: RemoteFile) -> bool:
    name = parse_filename(file.file.filename, "demo")
    if name.kind not in one.kinds or not wanted.contains(name.version, prereleases=True):
        return False
    if one.max_size is not None and file.file.size is not None and file.file.size > one.max_size:
        return False
    requires = SpecifierSet(file.file.requires_python or "")
    if one.pythons and not any(requires.contains(f"{python}.0") for python in one.pythons):
        return False
    if name.kind is DistributionType.SDIST:
        return True
    (tag,) = parse_tag(name.tags)
    on_python = {
        "py3": True,
        "cp312": "3.12" in one.pythons,
        "cp311": bool({"3.11", "3.12"} & set(one.pythons)),
    }
    on_platform = {
        "any": True,
        "win_amd64": "win_amd64" in one.platforms,
        "manylinux_2_17_x86_64": "manylinux_2_17_x86_64" in one.platforms,
        "manylinux_2_28_x86_64": False,
    }
    return (not one.pythons or on_python[tag.interpreter]) and (
        not one.platforms or on_platform[tag.platform]
    )


@examples(1000)
@given(_pages, _rule_sets())
def test_the_choice_is_what_the_documents_say(found: RemotePage, rules: RuleSet):
    assert {file.file.filename for file in choose(found, rules, NOW).files} == _naive(found, rules)


_limits = st.builds(
    SelectRule,
    number=st.just(1),
    projects=st.just(("demo",)),
    latest=st.integers(1, 2),
    latest_per_minor=st.integers(1, 2),
)


@examples(200)
@given(st.sets(st.sampled_from(_VERSIONS[1:]), min_size=4), _limits)
def test_limits_of_the_newest_are_what_the_documents_say(found: set[str], limits: SelectRule):
    files = page(*found)
    rules = RuleSet(rules=(limits,))
    assert {file.file.filename for file in choose(files, rules, NOW).files} == _naive(files, rules)


@examples(300)
@given(_pages, _rule_sets(), st.randoms(use_true_random=False))
def test_the_order_of_a_page_changes_nothing(found: RemotePage, rules: RuleSet, random: object):
    files = list(found.files)
    random.shuffle(files)  # type: ignore[attr-defined]
    assert choose(page(*files), rules, NOW) == choose(found, rules, NOW)


@examples(300)
@given(_pages, _rule_sets())
def test_each_file_is_taken_or_has_a_reason(found: RemotePage, rules: RuleSet):
    choice = choose(found, rules, NOW)
    assert [verdict.filename for verdict in choice.verdicts] == sorted(
        file.file.filename for file in found.files
    )
    assert all(verdict.reason for verdict in choice.verdicts)
    taken = [verdict.filename for verdict in choice.verdicts if verdict.taken]
    assert taken == [file.file.filename for file in choice.files]
