"""Entries of the policy: text, tables, and both in one list."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path

import pytest

from twisted_index.config.layers import load
from twisted_index.config.policy_entry import PolicyEntry, policy_entry
from twisted_index.config.settings import UpstreamPolicy
from twisted_index.errors import ConfigurationError

DAY = datetime(2026, 12, 10, tzinfo=UTC).timestamp()


def read(folder: Path, text: str) -> UpstreamPolicy:
    path = folder / "index.toml"
    path.write_text('upstream = "pip"\ncooldown = "7d"\n' + text)
    return load({"config": str(path)}, environ={}, folder=str(folder)).upstreams.policy


@pytest.mark.parametrize("name", ["cooldown-except", "upstream-deny"])
@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ('NAME = "certifi"', ("certifi",)),
        ('NAME = ["certifi", "django>=4,<5"]', ("certifi", "django>=4,<5")),
        ('NAME = ["certifi", {match = "a==1", reason = "x"}]', ("certifi", ("a==1", "x"))),
        ('[[NAME]]\nmatch = "a==1"\nreason = "x"\n[[NAME]]\nmatch = "b"', (("a==1", "x"), "b")),
        ('[NAME]\nmatch = "a"', ("a",)),
    ],
)
def test_every_spelling_is_read(tmp_path: Path, name: str, text: str, entries: tuple[object, ...]):
    policy = read(tmp_path, text.replace("NAME", name))
    expected = [
        PolicyEntry(match=one) if isinstance(one, str) else PolicyEntry(match=one[0], reason=one[1])  # type: ignore[index]
        for one in entries
    ]
    assert list(getattr(policy, name.replace("-", "_"))) == expected


@pytest.mark.parametrize(
    ("until", "end"),
    [
        ("2026-12-10", DAY + 86400 - 1e-6),
        ("2026-12-10T12:00:00Z", DAY + 43200),
        ("2026-12-10 12:00:00", DAY + 43200),
        ("2026-12-10T12:00:00+02:00", DAY + 36000),
    ],
)
def test_an_entry_ends_with_its_day_or_at_its_time(tmp_path: Path, until: str, end: float):
    (entry,) = read(tmp_path, f'[[cooldown-except]]\nmatch = "a"\nuntil = {until}').cooldown_except
    assert entry.ends == pytest.approx(end, abs=1e-5)


def test_without_a_date_an_entry_never_ends():
    assert policy_entry("a").ends == math.inf


@pytest.mark.parametrize(
    "end", [date.max, date.min, datetime.max, datetime(9999, 12, 31, tzinfo=timezone(-timedelta(hours=9)))]
)
def test_the_first_and_the_last_date_are_dates(end: date):
    entry = policy_entry({"match": "a", "until": end})
    assert math.isfinite(entry.ends)
    assert entry.terms.startswith(" until ")


def test_the_terms_of_an_entry_go_on_a_sentence():
    zone = timezone(timedelta(hours=2))
    assert PolicyEntry(match="a").terms == "."
    assert PolicyEntry(match="a", reason="a bug.").terms == ": a bug."
    assert policy_entry({"match": "a", "until": date(2026, 12, 10)}).terms == " until 2026-12-10 23:59 UTC."
    assert (
        policy_entry({"match": "a", "until": datetime(2026, 12, 10, tzinfo=zone), "reason": "x"}).terms
        == " until 2026-12-10 00:00 +0200: x."
    )


@pytest.mark.parametrize("name", ["cooldown-except", "upstream-deny"])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('["a", "b c"]', "'b c' is not a requirement; write it like evil-* or django>=4,<5."),
        ("[1]", '1 is not a requirement; write it like "evil-*" or "django>=4,<5".'),
        (
            '[{reason = "x"}]',
            'an entry lacks match; write match = "evil-*" or match = "django>=4,<5".',
        ),
        ('[{match = "a=1"}]', "'a=1' has a version specifier that PEP 440 does not allow."),
        (
            '["z", {match = "a", until = "2026-12-10"}]',
            "the entry 'a': until = '2026-12-10' is no date; write until = 2026-12-10, without quotes.",
        ),
        (
            '[{match = "a", until = 12:00:00}]',
            f"the entry 'a': until = {time(12)!r} is no date; write until = 2026-12-10, without quotes.",
        ),
        (
            '[{match = "a", until = true}]',
            "the entry 'a': until = True is no date; write until = 2026-12-10, without quotes.",
        ),
        (
            '[{match = "a", untill = 2026-12-10}]',
            "the entry 'a': 'untill' is not known; an entry has match, until and reason.",
        ),
        ('[{match = "a", reason = 1}]', "the entry 'a': the reason is one line of text."),
        ('[{match = "a", reason = "a\\nb"}]', "the entry 'a': the reason is one line of text."),
        ("[]", "the list is empty."),
    ],
)
def test_a_mistake_is_one_sentence_with_the_entry(tmp_path: Path, name: str, text: str, sentence: str):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"{name} = {text}")
    assert caught.value.message == f"{tmp_path}/index.toml: {name}: {sentence}"


def test_the_environment_has_text_only():
    policy = load(
        {},
        environ={
            "TWISTED_INDEX_UPSTREAM": "pip",
            "TWISTED_INDEX_COOLDOWN_EXCEPT": "certifi requests==2.32.4",
            "TWISTED_INDEX_UPSTREAM_DENY": "django>=4, <5\nevil-*",
        },
        folder="/",
    ).upstreams.policy
    assert [entry.match for entry in policy.cooldown_except] == ["certifi", "requests==2.32.4"]
    assert [entry.match for entry in policy.upstream_deny] == ["django>=4, <5", "evil-*"]
