"""Scopes in URLs."""

import pytest

from twisted_index.indexes.scope import PLAIN, Scope, draft_digest, split_scope
from twisted_index.simple.name_patterns import is_index_name


def _split(path: str) -> tuple[Scope, list[bytes], bool]:
    segments = [segment.encode() for segment in path.split("/")]
    scope, taken, is_known = split_scope(segments)
    return scope, segments[taken:], is_known


def test_path_without_plus_is_about_the_plain_index() -> None:
    assert _split("simple/foo/") == (PLAIN, [b"simple", b"foo", b""], True)


def test_scopes_compose_in_any_order() -> None:
    expected = Scope("prod", "2026-11-01")
    assert _split("+prod/+at/2026-11-01/simple/") == (expected, [b"simple", b""], True)
    assert _split("+at/2026-11-01/+prod/simple/") == (expected, [b"simple", b""], True)


def test_draft_is_known_by_the_digest_of_its_token() -> None:
    scope, rest, _is_known = _split("+staging/+draft/secret/legacy/")
    assert scope == Scope("staging", draft=draft_digest("secret"))
    assert rest == [b"legacy", b""]
    assert "secret" not in repr(scope)


def test_path_of_hatch_is_no_scope() -> None:
    assert _split("+prod/+simple/foo/") == (Scope("prod"), [b"+simple", b"foo", b""], True)


@pytest.mark.parametrize(
    "path", ["+", "+/", "+a/+b/", "+at/", "+at//x", "+draft", "+..", "+.x/", "+x%/", "+é/"]
)
def test_other_segments_with_a_plus_are_nothing(path: str) -> None:
    assert not _split(path)[2]


@pytest.mark.parametrize("name", ["a", "A", "pr-7", "v1.0_x"])
def test_names_have_letters_and_digits_with_punctuation_inside(name: str) -> None:
    assert is_index_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "a-", "a/b", "a b", "at", "draft", "simple", "é", "a\n", "a" * 101]
)
def test_other_names_are_none(name: str) -> None:
    assert not is_index_name(name)


def test_key_and_depth_tell_scopes_apart() -> None:
    scopes = [PLAIN, Scope("a"), Scope("", "a"), Scope("a", "b"), Scope("", "", "a"), Scope("a", "b", "c")]
    assert [scope.depth for scope in scopes] == [0, 1, 2, 3, 2, 5]
    assert len({scope.key for scope in scopes}) == len(scopes)
