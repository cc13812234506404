"""Patterns of project names, and requirements of what is not to be had."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.simple.name_patterns import (
    VersionRule,
    matches_any,
    may_overlap,
    name_matcher,
    normalized_pattern,
    pattern_covers,
    project_pattern,
)
from twisted_index.simple.names import normalize

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("acme-*", "acme-core", True),
        ("acme-*", "acme", False),
        ("acme-*", "acmecore", False),
        ("Acme_*", "acme-core", True),
        ("acme.*", "acme-core", True),
        ("acme--*", "acme-core", True),
        ("*", "anything", True),
        ("a?c", "abc", True),
        ("a[bc]c", "acc", True),
        ("a[!bc]c", "abc", False),
        ("a[B-D]c", "acc", True),
        ("a[!b-d0-9]c", "a5c", False),
        ("z-a[a-cx]", "z-ax", True),
        ("secret", "secret", True),
        ("secret", "secrets", False),
        ("secret", "my-secret", False),
    ],
)
def test_a_pattern_is_normalized_as_names_are(pattern, name, matches):
    assert name_matcher([pattern])(name) is matches


@given(names)
def test_a_name_in_any_spelling_is_a_pattern_of_itself(name):
    assert name_matcher(["x-y-z", name])(normalize(name))


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "acme-", "-acme", "acme[", "acme]", "a[]c", "a/b", "a b", "a,b", "é", "acme-*\n", "[!"),
        *("a[a.z]", "a[a_z]", "a[-a]", "a[a--z]", "a[!-]", "a[z-b]", "[9-0]"),
    ],
)
def test_a_pattern_that_no_name_can_match_is_refused(pattern):
    """Who writes it believes that names are kept at home which are not."""
    with pytest.raises(ValueError, match="not a pattern"):
        normalized_pattern(pattern)


def test_no_pattern_matches_nothing():
    assert not name_matcher([])("acme")


@pytest.mark.parametrize(
    ("text", "version", "forbidden"),
    [
        ("django", "1.0", True),
        ("django>=4,<5", "4.2", True),
        ("django>=4,<5", "5.0", False),
        ("django >= 4, < 5", "4.0.1", True),
        ("django>=4", "5.0a1", True),
        ("django>=4", "4.0.dev1", False),
        ("django!=1.0", "1.0", False),
        ("django!=1.0", "1.1", True),
        ("django==1.*", "1.9+local", True),
        ("django===1.0", "1.0", True),
        ("django~=1.4", "1.5.post1", True),
        ("django>=4", "no-version", True),
        ("dj*[ao]>=4", "4", True),
    ],
)
def test_a_denial_is_of_a_project_or_of_versions_with_their_pre_releases(text, version, forbidden):
    rule = VersionRule.parse(text)

    assert (rule.matches("django") and rule.covers(version, unclear=True)) is forbidden


def test_a_version_that_cannot_be_compared_is_what_the_caller_says():
    assert VersionRule.parse("django>=4").covers("no-version", unclear=True)
    assert not VersionRule.parse("django>=4").covers("no-version", unclear=False)
    assert VersionRule.parse("django").covers("no-version", unclear=False)


@pytest.mark.parametrize(
    "text", ["", ">=4", "django>=", "django=>4", "django[extra]", "a b", "django; x", "a/b"]
)
def test_what_is_no_denial_is_refused(text):
    if text == "django[extra]":  # a set of letters, as fnmatch reads it
        assert VersionRule.parse(text).matches("djangox")
        return
    with pytest.raises(ValueError, match=r"not a requirement|PEP 440"):
        VersionRule.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_or_refused(text):
    with contextlib.suppress(ValueError):
        name_matcher([text])("a")
    with contextlib.suppress(ValueError):
        VersionRule.parse(text).covers("1.0", unclear=True)


# -- Patterns compared with each other


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("*", "*", True),
        ("*", "acme", True),
        ("*", "a?c*", True),
        ("acme-*", "acme-*", True),
        ("acme-*", "acme-core", True),
        ("acme-*", "acme-c?re", True),
        ("acme-*", "acme-*-x", True),
        ("acme-*", "*", False),
        ("acme-*", "acme*", False),
        ("acme-*", "acme", False),
        ("acme-?", "acme-?", True),
        ("acme-?", "acme-x", True),
        ("acme-?", "acme-*", False),
        ("acme-x", "acme-?", False),
        ("a?", "a*", False),
        ("a?", "a??", False),
        ("a*c", "a*b*c", True),
        ("a*b*c", "a*c", False),
    ],
)
def test_a_pattern_covers_another_where_every_name_of_that_is_its_own(wide, narrow, covers):
    assert pattern_covers(wide, narrow) is covers


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("acme", "acme-*", False),
        ("acme-x", "acme-*", True),
        ("acme-*", "secret-*", False),
        ("acme-*", "acme*", True),
        ("*-core", "*-plan", False),
        ("acme-*", "*-core", True),
        ("*", "secret-*", True),
        ("a?", "?b", True),
    ],
)
def test_patterns_that_share_no_name_are_known_apart(one, other, overlap):
    assert may_overlap(one, other) is may_overlap(other, one) is overlap


short_patterns = st.text("ab*?", min_size=1, max_size=5).filter(lambda text: not set(text) <= {"-"})


@given(short_patterns, short_patterns, st.lists(st.text("abc", min_size=1, max_size=5), max_size=40))
def test_neither_comparison_is_ever_wrong_about_a_name(one, other, words):
    one, other = project_pattern(one), project_pattern(other)
    for word in words:
        in_one, in_other = matches_any(word, [one]), matches_any(word, [other])
        assert not (pattern_covers(one, other) and in_other and not in_one)
        assert may_overlap(one, other) or not (in_one and in_other)
