"""Where the token comes from, and where it does not go."""

from __future__ import annotations

from pathlib import Path

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.github.repository import parse_repository
from twisted_index.github.token import token_source

GITHUB, GHE = "github:o/r", "github+https://ghe.example/api/v3:o/r"
FORGEJO = "forgejo+https://code.example/api/v1:o/r"


def authorization(word: str, environ: dict[str, str], **more: object) -> bytes | None:
    """Give the value of the Authorization field; None without a token."""
    current = token_source(parse_repository(word), environ, **more).current()  # type: ignore[arg-type]
    return None if current is None else current.authorization


@pytest.mark.parametrize(
    ("word", "names", "chosen"),
    [
        (GITHUB, "GH_TOKEN GITHUB_TOKEN", "GH_TOKEN"),
        (GITHUB, "GITHUB_TOKEN GH_ENTERPRISE_TOKEN FORGEJO_TOKEN", "GITHUB_TOKEN"),
        (GHE, "GH_TOKEN GITHUB_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"),
        (GHE, "GITHUB_TOKEN FORGEJO_TOKEN", "GITHUB_TOKEN"),
        (FORGEJO, "GH_TOKEN GITEA_TOKEN", "GITEA_TOKEN"),
        (FORGEJO, "GH_TOKEN GH_ENTERPRISE_TOKEN", "GH_TOKEN"),
    ],
)
def test_a_token_of_the_environment_is_for_the_kind_of_api(word: str, names: str, chosen: str):
    assert authorization(word, {name: name for name in names.split()}) == b"Bearer " + chosen.encode()


@pytest.mark.parametrize(("word", "own"), [(GHE, "GH_ENTERPRISE_TOKEN"), (FORGEJO, "FORGEJO_TOKEN")])
def test_common_tokens_are_kept_from_other_apis(word: str, own: str, tmp_path: Path):
    (tmp_path / "token").write_text("file")
    environ = {"GH_TOKEN": "common", "GITHUB_TOKEN": "common"}
    more = {"file": str(tmp_path / "token"), "has_common": False}

    assert authorization(word, environ, **more) is None
    assert authorization(word, {**environ, own: "own"}, **more) == b"Bearer own"


@pytest.mark.parametrize(
    ("word", "server", "is_sent"),
    [
        (GITHUB, "https://api.github.com", True),
        (GITHUB, "https://ghe.example/api/v3", False),
        (GITHUB, "https://code.example/api/v1", False),
        (GHE, "https://ghe.example/api/v3", True),
        (GHE, "https://api.github.com", False),
        (FORGEJO, "https://code.example/api/v1/", True),
        (GITHUB, "", True),
        (GITHUB, "no URL", True),
    ],
)
def test_the_token_of_a_workflow_is_for_the_server_that_runs_it(word: str, server: str, is_sent: bool):
    environ = {"GITHUB_TOKEN": "workflow", "GITHUB_API_URL": server}

    assert authorization(word, environ) == (b"Bearer workflow" if is_sent else None)
    assert authorization(word, {**environ, "GH_TOKEN": "own"}) == b"Bearer own"
    unused = token_source(parse_repository(word), environ).unused
    assert unused.startswith(f"GITHUB_TOKEN is that of {server[:16]}") is not is_sent


def test_the_file_comes_before_the_environment(tmp_path: Path):
    (tmp_path / "token").write_text("file\n")

    assert authorization(GITHUB, {"GH_TOKEN": "env"}, file=str(tmp_path / "token")) == b"Bearer file"


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text("one")
    source = token_source(parse_repository(GITHUB), {}, file=str(path))
    path.write_text("another")
    assert source.current().authorization == b"Bearer another"  # type: ignore[union-attr]
    path.write_text("")
    assert source.current().authorization == b"Bearer another"  # type: ignore[union-attr]
    path.unlink()
    assert source.current().authorization == b"Bearer another"  # type: ignore[union-attr]


@pytest.mark.parametrize("machine", ["api.github.com", "github.com"])
def test_netrc_may_name_github_or_its_api(machine: str, tmp_path: Path):
    (tmp_path / "netrc").write_text(f"machine {machine} login me password word")

    assert authorization(GITHUB, {"NETRC": str(tmp_path / "netrc")}) == b"Bearer word"
    assert authorization(GHE, {"NETRC": str(tmp_path / "netrc")}) is None


def test_the_environment_comes_before_netrc(tmp_path: Path):
    (tmp_path / "netrc").write_text("machine api.github.com login me password word")

    assert authorization(GITHUB, {"NETRC": str(tmp_path / "netrc"), "GH_TOKEN": "env"}) == b"Bearer env"


@pytest.mark.parametrize("text", ["two words", "line\nfeed", "tök", ""])
def test_what_is_no_token_is_refused_at_once_and_not_shown(text: str, tmp_path: Path):
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        token_source(parse_repository(GITHUB), {}, file=str(tmp_path / "token"))
    assert "github-token-file is not a token" in refusal.value.message
    assert not text or text not in refusal.value.message


def test_a_variable_that_is_no_token_is_named_and_not_shown():
    with pytest.raises(ConfigurationError) as refusal:
        token_source(parse_repository(GITHUB), {"GH_TOKEN": "s3 cret"})
    assert refusal.value.message.startswith("GH_TOKEN is not a token")
    assert "s3" not in refusal.value.message


def test_a_missing_file_is_an_error_at_the_start(tmp_path: Path):
    with pytest.raises(ConfigurationError):
        token_source(parse_repository(GITHUB), {}, file=str(tmp_path / "none"))


def test_a_token_is_not_in_its_representation():
    source = token_source(parse_repository(GITHUB), {"GH_TOKEN": "s3cret"})
    assert "s3cret" not in repr(source.current()) + repr(source) + repr(vars(source))
