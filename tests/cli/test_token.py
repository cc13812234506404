"""`twisted-index token`: what people type, and what they see."""

from __future__ import annotations

import re
import stat

import pytest

from twisted_index import cli
from twisted_index.access.tokens import TokenStore


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("STATE_DIRECTORY", "TWISTED_INDEX_STATE", "TWISTED_INDEX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "state"


@pytest.fixture
def told(capsys):
    """Run the command, and give exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(["token", *words])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def test_the_secret_is_all_that_is_on_standard_output(told, state):
    code, out, err = told("create", "ci", "--upload", "acme-*", "--state", str(state))

    assert code == 0
    assert re.fullmatch(r"tix-[0-9a-f]{12}-[A-Za-z0-9_-]{43}\n", out)
    assert out.strip() not in err


def test_standard_error_says_how_to_use_it(told, state):
    _, _, err = told("create", "ci", "--upload", "acme-*", "--expires", "90d", "--state", str(state))

    assert "It may upload acme-*, until " in err
    assert "__token__" in err
    assert "twine upload --repository-url" in err
    assert "uv publish --publish-url" in err


@pytest.mark.parametrize(
    ("permission", "named", "not_named"),
    [
        (("--operate",), ["/-/history"], ["twine", "uv publish", "index-url"]),
        (("--read", "*"), ["index-url"], ["twine", "uv publish", "/-/history"]),
        (("--yank", "*"), [], ["twine", "uv publish", "index-url", "/-/history"]),
    ],
)
def test_standard_error_names_only_what_the_token_is_for(told, state, permission, named, not_named):
    _, _, err = told("create", "ci", *permission, "--state", str(state))

    assert [text for text in (*named, *not_named) if text in err] == named


def test_the_token_works_with_what_was_asked_for(told, state):
    words = [
        "--upload",
        "Acme_*",
        "--upload",
        "other",
        "--read",
        "*",
        "--operate",
        "--yank",
        "a",
        "--delete",
        "b",
    ]
    _, out, _ = told("create", *words, "ci", f"--state={state}")

    store = TokenStore(str(state))
    token = store.find(store.read(), out.strip().encode())
    assert {action.value: patterns for action, patterns in token.permissions.items()} == {
        "upload": ("acme-*", "other"),
        "create": ("acme-*", "other"),
        "read": ("*", "acme-*", "other"),
        "operate": ("*",),
        "yank": ("a",),
        "delete": ("b",),
    }


def test_the_list_shows_names_and_scopes_and_no_secrets(told, state):
    _, secret, _ = told("create", "ci", "--upload", "acme-*", "--expires", "1d", "--state", str(state))
    told("create", "reader", "--read", "*", "--state", str(state))

    code, out, err = told("list", "--state", str(state))

    assert (code, err) == (0, "")
    header, first, second = out.splitlines()
    assert header.split() == ["NAME", "CREATED", "EXPIRES", "MAY"]
    assert first.startswith("ci ")
    assert first.endswith("upload acme-*")
    assert second.startswith("reader ")
    assert "  never  " in second
    assert second.endswith("read *")
    assert secret.strip() not in out
    assert secret.strip()[-20:] not in out


def test_a_revoked_token_is_gone(told, state):
    told("create", "ci", "--upload", "acme-*", "--state", str(state))

    assert told("revoke", "ci", "--state", str(state)) == (0, "The token ci has been revoked.\n", "")
    assert told("list", "--state", str(state))[1].splitlines()[1:] == []


def test_the_state_folder_is_found_as_the_server_finds_it(told, state, monkeypatch):
    monkeypatch.setenv("TWISTED_INDEX_STATE", str(state))
    told("create", "ci", "--read", "*")

    assert stat.S_IMODE((state / "keep").stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "keep" / "tokens.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "ci"), "Give at least one permission, such as --upload 'acme-*'."),
        (("create", "--upload", "*"), "Usage: twisted-index token create [options] NAME."),
        (("create", "a b", "--read", "*"), "'a b' is not a valid token name"),
        (("create", "ci", "--upload", "a/b"), "--upload: 'a/b' is not a pattern of project names"),
        (("create", "ci", "--upload", "[a.z]"), "--upload: '[a.z]' is not a pattern for rights"),
        (("create", "ci", "--read", "*", "--expires", "soon"), "--expires: 'soon' is not a duration"),
        (
            ("create", "ci", "--read", "*", "--expires", "0"),
            "--expires: the token would already have expired",
        ),
        (("create", "ci", "--read", "*", "--frob"), "token: --frob is not an option; see --help."),
        (("revoke", "ci"), "There is no token 'ci'."),
        (("list", "ci"), "Usage: twisted-index token list [options]."),
        (("create", "ci", "--read", "*", "--state", "none"), "Tokens require a state folder"),
        (("frobnicate",), "token frobnicate: use create, list or revoke."),
        (("list", "--version"), "token: the version is printed by twisted-index version."),
    ],
)
def test_what_cannot_be_is_one_clear_line(told, state, words, sentence):
    more = () if "--state" in words else ("--state", str(state))
    code, out, err = told(*words, *more)

    assert (code, out) == (64, "")
    assert err.startswith(f"twisted-index: {sentence}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("create", "--help"), ("list", "--help"), ("revoke", "--help")]
)
def test_help_is_there_for_each(told, state, words):
    code, out, err = told(*words)

    assert (code, err) == (0, "")
    assert out.startswith("Usage: twisted-index token ")
