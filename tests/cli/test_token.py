"""`twisted-index token`: what people type, and what they see."""

from __future__ import annotations

import re
import stat
from datetime import timedelta

import pytest

from twisted_index import cli
from twisted_index.access.tokens import TokenStore, identifier_of
from twisted_index.events.audit_log import AuditFile


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("STATE_DIRECTORY", "TWISTED_INDEX_STATE", "TWISTED_INDEX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "state").mkdir()
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
        (("--follow",), ["/-/changes"], ["twine", "uv publish", "index-url", "/-/history"]),
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
        "--follow",
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
        "follow": ("*",),
        "yank": ("a",),
        "delete": ("b",),
    }


def test_the_list_shows_names_and_scopes_and_no_secrets(told, state):
    _, secret, _ = told("create", "ci", "--upload", "acme-*", "--expires", "1d", "--state", str(state))
    told("create", "reader", "--read", "*", "--state", str(state))

    code, out, err = told("list", "--state", str(state))

    assert (code, err) == (0, "")
    header, first, second = out.splitlines()
    assert header.split() == ["NAME", "BY", "CREATED", "EXPIRES", "USED", "MAY"]
    assert re.match(r"ci +\S+ \(console\) ", first)
    assert first.endswith("upload acme-*")
    assert second.startswith("reader ")
    assert "  never  " in second
    assert second.endswith("read *")
    assert secret.strip() not in out
    assert secret.strip()[-20:] not in out


def test_a_token_is_good_in_the_indexes_that_are_named(told, state):
    where = ("--index", "staging", "--index", "pr-*")
    _, out, err = told("create", *where, "--promote", "acme-*", "--manage", "ci", f"--state={state}")

    store = TokenStore(str(state))
    token = store.find(store.read(), out.strip().encode())
    assert token.indexes == ("staging", "pr-*")
    assert {action.value for action in token.permissions} == {"promote", "manage"}
    shown = "promote acme-*, make and remove indexes (indexes: staging pr-*)"
    assert f"It may {shown}." in err
    assert told("list", f"--state={state}")[1].rstrip().endswith(shown)


@pytest.mark.parametrize(
    ("words", "indexes"),
    [((), ("",)), (("--index", "*"), ("*",)), (("--index", "", "--index", "prod"), ("", "prod"))],
)
def test_a_token_without_an_index_is_good_in_the_one_without_a_name(told, state, words, indexes):
    told("create", *words, "--read", "*", "ci", f"--state={state}")

    (token,) = TokenStore(str(state)).read().values()
    assert token.indexes == indexes


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
        (
            ("create", "ci", "--upload", "*", "--index", "a/b"),
            "--index: 'a/b' is not a pattern of index names",
        ),
        (("create", "ci", "--upload", "[a.z]"), "--upload: '[a.z]' is not a pattern for rights"),
        (("create", "ci", "--read", "*", "--expires", "soon"), "--expires: 'soon' is not a time"),
        (
            ("create", "ci", "--read", "*", "--expires", "0"),
            "--expires: the token would already have expired",
        ),
        (("create", "ci", "--read", "*", "--frob"), "token: --frob is not an option; see --help."),
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


def test_a_token_that_is_not_there_cannot_be_revoked(told, state):
    code, out, err = told("revoke", "ci", "--state", str(state))
    assert (code, out, err) == (1, "", "twisted-index: There is no token 'ci'.\n")


@pytest.mark.parametrize("words", [("--expires", "2127-01-01"), ("--expires=2127-01-01T23:59:59Z",)])
def test_a_token_ends_with_a_day_or_at_a_time(told, state, words):
    _, _, err = told("create", "ci", "--read", "*", *words, "--state", str(state))
    assert ", until 2127-01-01 23:59 UTC." in err


def test_the_list_shows_the_last_use(told, state):
    _, secret, _ = told("create", "ci", "--read", "*", "--state", str(state))
    store = TokenStore(str(state), now=lambda: 1_900_000_000.0)
    assert re.search(r"  never +never  read \*$", told("list", "--state", str(state))[1].strip())
    store.uses.note(identifier_of(secret.strip().encode()))
    assert "  2030-03-17 17:46 UTC  read *" in told("list", "--state", str(state))[1]


def test_the_audit_log_records_who_makes_and_revokes_tokens(told, state):
    told("create", "ci", "--upload", "acme-*", "--state", str(state))
    told("revoke", "ci", "--state", str(state))
    events = AuditFile(str(state)).latest(10)
    assert [(event.action, event.detail) for event in reversed(events)] == [
        ("token-create", "ci: upload acme-*"),
        ("token-revoke", "ci: upload acme-*"),
    ]
    assert all(event.by.endswith(" (console)") for event in events)


# -- Where the server looks


def test_standard_error_says_where_the_token_is_kept(told, state):
    _, _, err = told("create", "ci", "--read", "*", "--state", str(state))
    assert f"kept in {state}/keep/tokens.json" in err


@pytest.mark.parametrize("command", [("create", "ci", "--read", "*"), ("list",), ("revoke", "ci")])
def test_a_configuration_that_names_no_state_is_refused(told, state, command):
    """Its server's own default is another user's folder, or systemd's."""
    config = state.parent / "index.toml"
    config.write_text("upload = false\n")
    code, out, err = told(*command, f"--config={config}")
    assert (code, out) == (64, "")
    assert err == (
        f"twisted-index: {config} does not say where its server keeps its state;"
        ' write state = "DIR" in it, or give --state DIR.\n'
    )


@pytest.mark.parametrize("how", ["file", "option", "environment", "systemd"])
def test_a_configuration_is_enough_where_something_names_the_state(told, state, monkeypatch, how):
    config = state.parent / "index.toml"
    config.write_text('state = "state"\n' if how == "file" else "")
    if how == "environment":
        monkeypatch.setenv("TWISTED_INDEX_STATE", str(state))
    if how == "systemd":
        monkeypatch.setenv("STATE_DIRECTORY", str(state))
    more = [f"--state={state}"] if how == "option" else []
    assert told("create", "ci", "--read", "*", f"--config={config}", *more)[0] == 0
    assert (state / "keep" / "tokens.json").exists()


@pytest.mark.parametrize("command", [("create", "ci", "--read", "*"), ("list",), ("revoke", "ci")])
def test_a_state_folder_that_is_not_there_is_not_made(told, state, command):
    missing = state.parent / "stat"
    code, out, err = told(*command, "--state", str(missing))
    assert (code, out) == (64, "")
    assert err.startswith(f"twisted-index: There is no state folder '{missing}'")
    assert not missing.exists()


def test_the_folder_of_the_user_is_made(told, state, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(state / "home"))
    monkeypatch.setenv("HOME", str(state / "home"))
    code, _, err = told("create", "ci", "--read", "*")
    assert code == 0
    (made,) = (state / "home").rglob("tokens.json")
    assert f"kept in {made}" in err


def test_the_longest_life_of_the_configuration_holds_for_the_console(told, state):
    config = state.parent / "index.toml"
    config.write_text('state = "state"\nmax-token-age = "90d"\n')
    words = ("--read", "*", f"--config={config}")
    code, out, err = told("create", "ci", *words, "--expires", "never")
    assert (code, out) == (64, "")
    assert "a token may live for 90 days at most (max-token-age)" in err
    told("create", "ci", *words)
    (token,) = TokenStore(str(state)).read().values()
    assert token.expires == token.created + timedelta(days=90)


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("create", "--help"), ("list", "--help"), ("revoke", "--help")]
)
def test_help_is_there_for_each(told, state, words):
    code, out, err = told(*words)

    assert (code, err) == (0, "")
    assert out.startswith("Usage: twisted-index token ")
