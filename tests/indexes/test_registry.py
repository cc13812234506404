"""Which index a scope leads to, what it is made of, and when it is another one."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.kit.at_once import answer
from tests.kit.named_indexes import PARTNER, PUBLIC, Indexes, upstream_settings
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import NotFound, Unavailable
from twisted_index.indexes import registry
from twisted_index.indexes.composite import explain
from twisted_index.indexes.scope import PLAIN, Scope
from twisted_index.simple.explanation import SourceKind

ONE, EVIL = ["acme-1.0-py3-none-any.whl"], ["acme-999-py3-none-any.whl"]


def test_a_subfolder_is_an_index_from_the_next_request_on(indexes: Indexes):
    with pytest.raises(NotFound, match="There is no index of that name"):
        indexes.find("dev")
    indexes.make("dev", "", "acme")
    assert indexes.files("dev", "acme") == ONE
    assert indexes.registry.names() == ("dev",)
    shutil.rmtree(indexes.folder / "dev")
    with pytest.raises(NotFound):
        indexes.find("dev")


def test_the_index_without_a_name_stays_what_it_is(indexes: Indexes):
    indexes.add(indexes.plain, "acme")
    indexes.make("dev")
    assert indexes.files("", "acme") == ONE
    assert indexes.files("dev", "acme") is None
    assert indexes.find("").line == ("",)


def test_an_index_is_the_same_object_while_nothing_changes(indexes: Indexes):
    indexes.make("prod", "", "acme")
    indexes.make("dev", "bases = 'prod'\ntitle = 'Dev'")
    served = indexes.find("dev")
    indexes.later()
    indexes.add(indexes.folder / "prod", "other")
    assert indexes.find("dev") is served
    indexes.make("dev", "bases = 'prod'\ntitle = 'Development'")
    changed = indexes.find("dev")
    assert changed is not served
    assert changed.title == "Development"


def test_the_folders_of_the_line_are_one_pile(indexes: Indexes):
    indexes.make("prod", "", "acme", "other")
    indexes.make("dev", "bases = ['prod']", "mine")
    assert indexes.find("dev").line == ("dev", "prod")
    assert [indexes.files("dev", name) is not None for name in ("mine", "acme", "other")] == [True] * 3


def test_a_base_that_goes_makes_what_inherits_it_unavailable_and_not_shorter(indexes: Indexes):
    prod = indexes.make("prod", "", "acme")
    indexes.make("dev", "bases = ['prod']", "mine")
    indexes.find("dev")
    prod.rename(indexes.folder / "gone")
    with pytest.raises(Unavailable, match="dev inherits prod, and there is no such index"):
        indexes.find("dev")
    (indexes.folder / "gone").rename(prod)
    assert indexes.files("dev", "acme") == ONE


def test_what_was_looked_at_lately_is_there_without_another_look(indexes: Indexes):
    scope = Scope(index="dev")
    assert indexes.registry.recent(scope) is None
    indexes.make("dev")
    served = indexes.find("dev")
    assert indexes.registry.recent(scope) is served
    indexes.later(2.0)
    assert indexes.registry.recent(scope) is None
    assert indexes.registry.recent(PLAIN) is indexes.find("")


def test_the_default_index_is_the_one_without_a_name_too(make_indexes: Callable[..., Indexes]):
    indexes = make_indexes(default="prod")
    with pytest.raises(Unavailable, match="The index prod, which this URL is about, is not there"):
        indexes.find("")
    indexes.make("prod", "", "acme")
    assert indexes.find("") is indexes.find("prod")
    assert indexes.registry.recent(PLAIN) is indexes.find("prod")


def test_other_settings_of_the_server_hold_in_every_index(indexes: Indexes):
    indexes.make("dev", "upstream = 'public'")
    assert indexes.files("dev", "acme") == EVIL
    policy = replace(PUBLIC, policy=UpstreamPolicy(local_only=("acme",)))
    indexes.named.prepare(upstream_settings(policy))()
    indexes.registry.replace(indexes.registry.live(""))
    assert indexes.files("dev", "acme") is None


def test_indexes_that_were_used_least_are_dropped_and_their_folders_stopped(
    indexes: Indexes, monkeypatch: pytest.MonkeyPatch
):
    stopped: list[object] = []
    monkeypatch.setattr(type(indexes.registry), "_stop", lambda _self, folder: _note(stopped, folder))
    for number in range(registry.MAX_LIVE + 1):
        indexes.make(f"i{number}")
        indexes.find(f"i{number}")
    gc.collect()
    assert len(stopped) == 1
    assert indexes.registry.recent(Scope(index="i0")) is None
    assert indexes.files("i0", "acme") is None


async def _note(stopped: list[object], folder: object) -> None:
    stopped.append(folder)


def test_an_index_that_is_forgotten_after_the_stop_does_not_wake_the_reactor(
    indexes: Indexes, monkeypatch: pytest.MonkeyPatch
):
    woken: list[object] = []
    monkeypatch.setattr(indexes.registry._reactor, "callFromThread", lambda *call: woken.append(call))
    indexes.make("dev")
    served = indexes.find("dev")
    answer(indexes.registry.stop)
    del served
    gc.collect()
    assert woken == []


def test_an_index_that_a_request_still_uses_is_not_stopped(indexes: Indexes, monkeypatch: pytest.MonkeyPatch):
    stopped: list[object] = []
    monkeypatch.setattr(type(indexes.registry), "_stop", lambda _self, folder: _note(stopped, folder))
    indexes.make("dev")
    served = indexes.find("dev")
    shutil.rmtree(indexes.folder / "dev")
    with pytest.raises(NotFound):
        indexes.find("dev")
    gc.collect()
    assert stopped == []
    del served
    gc.collect()
    assert len(stopped) == 1


# -- Upstreams


def test_an_index_has_no_upstream_unless_it_names_one(indexes: Indexes):
    indexes.make("dev")
    assert indexes.files("dev", "acme") is None
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


def test_an_inherited_folder_claims_a_name_before_every_upstream(indexes: Indexes):
    indexes.make("prod", "", "acme")
    indexes.make("dev", "bases = ['prod']\nupstream = ['public', 'partner']")
    assert indexes.files("dev", "acme") == ONE
    assert [upstream.asked for upstream in indexes.upstreams.values()] == [[], []]


def test_upstreams_come_in_the_order_of_the_line_and_their_files_are_of_the_index_that_names_them(
    indexes: Indexes,
):
    indexes.make("prod", "upstream = 'partner'")
    indexes.make("dev", "bases = ['prod']")
    page = answer(indexes.find("dev").source.project_page, "acme").value
    assert [file.owner for file in page.files] == ["prod"]
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []
    own = answer(indexes.find("prod").source.project_page, "acme").value
    assert [file.owner for file in own.files] == [None]


def test_the_policy_travels_with_the_index_that_names_its_upstream(make_indexes: Callable[..., Indexes]):
    public = replace(PUBLIC, policy=UpstreamPolicy(upstream_only=("numpy",)))
    indexes = make_indexes(upstream_settings(public, PARTNER))
    indexes.make("prod", "upstream = 'public'")
    indexes.make("dev", "bases = ['prod']\n")
    assert indexes.files("dev", "acme") is None
    assert indexes.files("dev", "numpy") == ["numpy-999-py3-none-any.whl"]
    indexes.make("wide", "bases = ['prod']\nupstream = 'partner'")
    assert indexes.files("wide", "acme") == EVIL


def test_local_only_of_any_table_in_the_line_and_of_the_server_holds(make_indexes: Callable[..., Indexes]):
    partner = replace(PARTNER, policy=UpstreamPolicy(local_only=("acme",)))
    policy = UpstreamPolicy(local_only=("mine",))
    indexes = make_indexes(upstream_settings(PUBLIC, partner, policy=policy))
    indexes.make("prod", "upstream = 'partner'")
    indexes.make("dev", "bases = ['prod']\nupstream = 'public'")
    assert indexes.files("dev", "acme") is None
    assert indexes.files("dev", "mine") is None
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


def test_a_merged_name_is_requested_only_where_its_table_merges_it(make_indexes: Callable[..., Indexes]):
    partner = replace(PARTNER, policy=UpstreamPolicy(merge_upstream=("acme",)))
    indexes = make_indexes(upstream_settings(PUBLIC, partner))
    indexes.make("dev", "upstream = ['public', 'partner']", "acme")
    assert indexes.files("dev", "acme") == [*ONE, *EVIL]
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


def test_an_unknown_upstream_is_a_problem_and_unavailable_for_names_that_it_could_have(indexes: Indexes):
    indexes.make("dev", "upstream = 'pubic'", "mine")
    assert indexes.files("dev", "mine") == ["mine-1.0-py3-none-any.whl"]
    with pytest.raises(Unavailable, match=r"dev names the upstream pubic, which this server does not define"):
        indexes.files("dev", "acme")
    assert "dev names the upstream pubic" in indexes.problems("dev")["dev/.index.toml"]
    assert "dev names the upstream pubic" in indexes.problems()["dev/.index.toml"]


# -- Names that indexes reserve


def test_a_name_of_an_index_that_reserves_its_names_is_requested_by_no_index(indexes: Indexes):
    indexes.make("prod", "reserve-names = true", "acme")
    indexes.make("public", "upstream = 'public'")
    assert indexes.files("public", "acme") is None
    assert answer(indexes.find("public").source.open_file, "acme", EVIL[0]) is None
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []
    assert indexes.files("public", "numpy") == ["numpy-999-py3-none-any.whl"]


def test_reserved_names_hold_for_the_upstream_of_the_index_without_a_name(
    make_indexes: Callable[..., Indexes],
):
    indexes = make_indexes(upstream_settings(PUBLIC, urls=("https://plain.example/simple/",)))
    indexes.make("prod", "reserve-names = true", "acme")
    assert indexes.files("", "acme") is None
    assert indexes.upstreams["https://plain.example/simple/"].asked == []


def test_names_that_a_reserving_index_inherits_are_reserved_too(indexes: Indexes):
    indexes.make("core", "", "acme")
    indexes.make("prod", "bases = ['core']\nreserve-names = true")
    indexes.make("public", "upstream = 'public'")
    assert indexes.files("public", "acme") is None


def test_a_name_that_is_claimed_later_leaves_the_pages_that_show_the_upstream(indexes: Indexes):
    prod = indexes.make("prod", "reserve-names = true")
    indexes.make("public", "upstream = 'public'")
    indexes.later()
    page = answer(indexes.find("public").source.project_page, "acme")
    assert page.is_current()
    indexes.add(prod, "acme")
    assert not page.is_current()
    assert indexes.files("public", "acme") is None


def test_an_index_that_comes_reserves_its_names_from_the_next_request_on(indexes: Indexes):
    indexes.make("public", "upstream = 'public'")
    assert indexes.files("public", "acme") == EVIL
    indexes.make("prod", "reserve-names = true", "acme")
    assert indexes.files("public", "acme") is None


def test_why_says_which_index_reserves_a_name_and_that_no_upstream_was_asked(indexes: Indexes):
    indexes.make("prod", "reserve-names = true", "acme")
    indexes.make("public", "upstream = 'public'")
    found = answer(explain, indexes.find("public").source, "acme")
    says = [(one.name, one.says, one.asked) for one in found.sources if one.kind is not SourceKind.FOLDER]
    assert says[0] == ("index prod", "reserves the name", True)
    assert says[1][1:] == ("was not asked", False)
    assert found.page is None


def test_why_says_of_each_upstream_of_the_line_whether_it_was_asked(indexes: Indexes):
    indexes.make("prod", "upstream = ['partner', 'public']")
    indexes.make("dev", "bases = ['prod']")
    found = answer(explain, indexes.find("dev").source, "acme")
    asked = [(one.asked, one.index) for one in found.sources if one.kind is not SourceKind.FOLDER]
    assert asked == [(True, "prod"), (False, "prod")]
    assert [file.owner for file in found.files] == ["prod"]


def test_an_index_begins_to_reserve_within_the_rescan_time(indexes: Indexes):
    indexes.make("prod", "title = 'Prod'", "acme")
    indexes.make("public", "upstream = 'public'")
    page = answer(indexes.find("public").source.project_page, "acme")
    assert page.value is not None
    indexes.make("prod", "reserve-names = true")
    indexes.later()
    assert not page.is_current()
    assert indexes.files("public", "acme") is None


def test_an_index_whose_settings_never_were_whole_counts_as_reserving(indexes: Indexes):
    indexes.make("prod", "bases = [", "acme")
    indexes.make("public", "upstream = 'public'")
    assert indexes.files("public", "acme") is None
    assert indexes.files("public", "numpy") == ["numpy-999-py3-none-any.whl"]


def test_a_reserving_index_with_a_base_that_is_away_leaves_no_name_to_an_upstream(indexes: Indexes):
    indexes.make("prod", "bases = ['core']\nreserve-names = true", "acme")
    indexes.make("public", "upstream = 'public'")
    with pytest.raises(Unavailable, match="prod inherits core"):
        indexes.files("public", "acme")
    assert indexes.upstreams[PUBLIC.urls[0]].asked == []


# -- Uploads


def test_uploads_are_as_the_server_has_them_and_as_the_index_narrows_them(
    make_indexes: Callable[..., Indexes],
):
    base = upstream_settings(PUBLIC)
    indexes = make_indexes(replace(base, uploads=replace(base.uploads, upload=True, overwrite=("*.dev*",))))
    indexes.make("staging")
    indexes.make("closed", "upload = false")
    indexes.make("nightly", "overwrite = ['*']")
    found = [indexes.find(name).uploads for name in ("staging", "closed", "nightly")]
    assert [one.upload for one in found] == [True, False, True]
    assert [one.overwrite for one in found] == [("*.dev*",), ("*.dev*",), ("*",)]


def test_uploads_that_the_server_has_off_stay_off_and_are_a_problem(indexes: Indexes):
    indexes.make("staging", "upload = true")
    assert not indexes.find("staging").uploads.upload
    assert "Uploads are off on this server" in indexes.problems("staging")["staging/.index.toml"]


# -- Problems


def test_everything_that_is_wrong_with_indexes_is_listed_at_the_one_without_a_name(indexes: Indexes):
    indexes.make("good")
    indexes.make("broken", "bases = [")
    indexes.make("dev", "bases = ['nowhere']")
    (indexes.folder / "pull request").mkdir()
    problems = indexes.problems()
    assert sorted(problems) == ["broken/.index.toml", "dev/.index.toml", "pull request/"]
    assert problems["dev/.index.toml"] == "dev inherits nowhere, and there is no such index."
