"""Tokens: made, kept, found again, and taken back."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.access.tokens import MAX_OWN_TOKENS, TokenStore, identifier_of
from twisted_index.errors import ConfigurationError, Conflict, NotFound, Unauthorized
from twisted_index.interfaces import Action

UPLOAD = {Action.UPLOAD: ("acme-*",)}


@pytest.fixture
def store(tmp_path):
    return TokenStore(str(tmp_path / "state"))


def test_a_secret_finds_its_token(store):
    made, secret = store.create("ci", UPLOAD)
    found = store.find(store.read(), secret.encode())

    assert (found.name, found.identifier) == ("ci", made.identifier)


def test_a_token_to_upload_may_create_and_read_the_same(store):
    _, secret = store.create("ci", UPLOAD)

    found = store.find(store.read(), secret.encode())
    assert found.permissions == dict.fromkeys((Action.UPLOAD, Action.CREATE, Action.READ), ("acme-*",))


def test_nothing_of_the_secret_is_kept(store):
    _, secret = store.create("ci", UPLOAD)
    kept = Path(store.path).read_text()

    assert secret not in kept
    assert secret[len("tix-000000000000-") :] not in kept


def test_only_its_owner_may_read_the_file(store):
    store.create("ci", UPLOAD)
    folder = Path(store.path).parent

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(path.name for path in folder.iterdir()) == ["tokens.json", "tokens.lock"]


def test_a_link_in_the_place_of_the_lock_leads_nowhere(store, tmp_path):
    """The folder belongs to the server, and tokens are made by root."""
    store.create("ci", UPLOAD)
    lock = Path(store.path).with_name("tokens.lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError, match="cannot be written"):
        store.create("other", UPLOAD)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives things away")
def test_what_root_makes_belongs_to_the_owner_of_the_state(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12345, 12346)
    store = TokenStore(str(state))
    store.create("ci", UPLOAD)
    folder = Path(store.path).parent

    for path in (folder, *folder.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_wrong_secret_is_not_told_from_an_unknown_one(store):
    _, secret = store.create("ci", UPLOAD)
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    sentences = set()
    for text in (wrong, "tix-000000000000-" + "a" * 43, "secret", ""):
        with pytest.raises(Unauthorized) as caught:
            store.find(store.read(), text.encode())
        sentences.add(caught.value.message)

    assert sentences == {"This token is not valid."}


def test_an_expired_token_says_so(tmp_path):
    now = [1_000_000.0]
    store = TokenStore(str(tmp_path), now=lambda: now[0])
    _, secret = store.create("ci", UPLOAD, expires=datetime.fromtimestamp(now[0] + 10, UTC))

    now[0] += 9
    assert store.find(store.read(), secret.encode()).name == "ci"
    now[0] += 1
    with pytest.raises(Unauthorized, match="The token ci has expired"):
        store.find(store.read(), secret.encode())


def test_only_who_has_the_secret_is_told_that_it_expired(tmp_path):
    now = [1_000_000.0]
    store = TokenStore(str(tmp_path), now=lambda: now[0])
    token, _ = store.create("ci", UPLOAD, expires=datetime.fromtimestamp(now[0] + 10, UTC))
    now[0] += 20

    with pytest.raises(Unauthorized, match="not valid"):
        store.find(store.read(), f"tix-{token.identifier}-{'a' * 43}".encode())


def test_a_revoked_token_is_gone_for_whoever_had_read_it(store):
    _, secret = store.create("ci", UPLOAD)
    server = TokenStore(os.path.dirname(os.path.dirname(store.path)))
    server.read()
    store.revoke("ci")

    assert server.cached() is None
    with pytest.raises(Unauthorized):
        server.find(server.read(), secret.encode())


def test_what_was_read_holds_until_the_file_changes(store):
    store.create("ci", UPLOAD)
    status = os.stat(store.path)
    settled = TokenStore(os.path.dirname(os.path.dirname(store.path)))
    settled.place._file._wall = lambda: status.st_ctime + 10
    tokens = settled.read()

    assert settled.cached() is tokens
    store.create("other", UPLOAD)
    assert settled.cached() is None


@pytest.mark.parametrize("name", ["", "a b", "-a", "a-", "ä", "a" * 65, "a\n", "a/b"])
def test_a_name_that_would_confuse_is_refused(store, name):
    with pytest.raises(ConfigurationError, match="is not a valid token name"):
        store.create(name, UPLOAD)


def test_a_name_is_given_once(store):
    store.create("ci", UPLOAD)
    with pytest.raises(Conflict, match="The token 'ci' already exists"):
        store.create("ci", UPLOAD)
    assert len(store.read()) == 1


def test_a_token_for_nothing_is_not_made(store):
    with pytest.raises(ConfigurationError, match="at least one permission"):
        store.create("ci", {Action.READ: ()})
    assert not store.exists()


def test_a_file_of_the_first_version_is_read_and_written_anew(store):
    """Whose tokens were on several lines each, with their permissions as `scope`."""
    secret = "tix-0123456789ab-" + "a" * 43
    row = {
        "id": "0123456789ab",
        "name": "old",
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "scope": {"upload": ["acme-*"]},
        "created": "2026-01-01T00:00:00+00:00",
        "expires": None,
    }
    Path(store.path).parent.mkdir(parents=True)
    Path(store.path).write_text(json.dumps({"version": 1, "tokens": [row]}, indent=1) + "\n")

    for _ in range(2):
        token = store.find(store.read(), secret.encode())
        assert (token.name, token.by, token.owner) == ("old", "", None)
        assert token.permissions[Action.UPLOAD] == ("acme-*",)
        store.create(f"new-{_}", UPLOAD)
    assert json.loads(Path(store.path).read_text())["version"] == 2


def test_a_token_keeps_the_indexes_that_it_is_for(store):
    where = ("staging", "pr-*", "")
    _, named = store.create("named", UPLOAD, indexes=where)
    _, plain = store.create("plain", UPLOAD)
    table = store.read()
    assert (store.find(table, named.encode()).indexes, table.named("named").indexes) == (where, where)
    assert store.find(table, plain.encode()).indexes == ("",)
    rows = Path(store.path).read_text().splitlines()[1:3]
    assert ['"indexes"' in row for row in rows] == [True, False]


@pytest.mark.parametrize("indexes", ['"indexes":[]', '"indexes":["a/b"]', '"indexes":"*"', '"indexes":[1]'])
def test_indexes_that_are_none_are_damage_and_not_all(store, indexes):
    _, secret = store.create("named", UPLOAD, indexes=("staging",))
    written = Path(store.path).read_text()
    Path(store.path).write_text(written.replace('"indexes":["staging"]', indexes))
    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        store.find(store.read(), secret.encode())


def test_a_damaged_line_is_damage_of_the_file_or_of_its_token_alone(store):
    _, secret = store.create("ci", UPLOAD)
    _, other = store.create("other", UPLOAD)
    written = Path(store.path).read_text()
    Path(store.path).write_text(written.replace("acme-*", "acme/*", 1))
    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        store.find(store.read(), secret.encode())
    assert store.find(store.read(), other.encode()).name == "other"
    Path(store.path).write_text(written.replace('{"id":"', '{"id":"x', 1))
    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        store.read()


def test_a_token_without_a_word_about_its_owner_is_damage_and_not_free(store):
    store.create("ci", UPLOAD, by="alice", bound=True)
    Path(store.path).write_text(Path(store.path).read_text().replace(',"bound":true', ""))
    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        store.read()


@pytest.mark.parametrize("owner", ["alice", 'x","by":"bob', "\u00e4\u4e2d\\", "bob (console)"])
def test_an_owner_is_found_by_the_whole_name(store, owner):
    store.create("one", UPLOAD, by="bob", bound=True)
    store.create("console", UPLOAD, by="bob (console)")
    store.create("two", UPLOAD, by=owner, bound=True)

    assert [token.name for token in store.read().owned_by(owner)] == ["two"]
    assert [token.name for token in store.read().owned_by("bob")] == ["one"]


def test_an_owner_has_so_many_tokens_and_those_of_others_do_not_count(store):
    for number in range(MAX_OWN_TOKENS):
        store.create(f"a{number}", UPLOAD, by="alice", bound=True)
    with pytest.raises(Conflict, match="alice has 100 tokens already"):
        store.create("more", UPLOAD, by="alice", bound=True)
    store.create("b", UPLOAD, by="bob", bound=True)
    store.create("c", UPLOAD, by="alice")
    store.revoke("a0")
    store.create("more", UPLOAD, by="alice", bound=True)


def test_expired_tokens_of_an_owner_make_room(tmp_path):
    now = [1_000_000.0]
    store = TokenStore(str(tmp_path), now=lambda: now[0])
    for owner in ("alice", "bob"):
        end = datetime.fromtimestamp(now[0] + 10, UTC)
        store.create(f"{owner}-1", UPLOAD, by=owner, bound=True, expires=end)
    now[0] += 10
    store.create("alice-1", UPLOAD, by="alice", bound=True)

    assert [(token.name, token.expires is None) for token in store.read().values()] == [
        ("bob-1", False),
        ("alice-1", True),
    ]


def test_only_its_owner_revokes_a_token_for_an_owner(store):
    store.create("ci", UPLOAD, by="alice", bound=True)
    store.create("console", UPLOAD, by="bob (console)")
    for name in ("ci", "console", "none"):
        with pytest.raises(NotFound, match=f"There is no token '{name}'"):
            store.revoke(name, owner="bob")
    assert store.revoke("ci", owner="alice").name == "ci"


def test_a_revoked_token_leaves_no_use_behind(store):
    token, _ = store.create("ci", UPLOAD)
    store.uses.note(token.identifier)
    store.revoke("ci")
    assert store.uses.last(token.identifier) is None


def test_tokens_of_users_end_with_the_longest_life_of_now(tmp_path):
    now = [1_000_000.0]
    store = TokenStore(str(tmp_path), now=lambda: now[0])
    _, own = store.create("own", UPLOAD, by="alice", bound=True)
    _, console = store.create("console", UPLOAD, by="root (console)")
    now[0] += 100

    tokens = store.read()
    assert store.find(tokens, own.encode(), max_age=101).name == "own"
    with pytest.raises(Unauthorized, match="has expired"):
        store.find(tokens, own.encode(), max_age=100)
    assert store.find(tokens, console.encode(), max_age=1).name == "console"
    assert store.find(tokens, own.encode(), max_age=1e18).name == "own"


def test_there_is_none_before_the_first_was_made(store):
    assert not store.exists()
    assert store.read() == {}
    store.create("ci", UPLOAD)
    assert store.exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"version": 1, "tokens": [{}]}', '{"version": 1, "tokens": 3}', "\xff", "[" * 100_000],
)
def test_a_damaged_file_is_told_of_and_not_written_over(store, content):
    store.create("ci", UPLOAD)
    Path(store.path).write_text(content, encoding="latin-1")

    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        store.read()
    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        store.create("other", UPLOAD)
    assert Path(store.path).read_text(encoding="latin-1") == content


def test_a_file_of_a_later_version_is_left_alone(store):
    store.create("ci", UPLOAD)
    table = json.loads(Path(store.path).read_text())
    Path(store.path).write_text(json.dumps({**table, "version": 3}))

    with pytest.raises(ConfigurationError, match="another version"):
        store.revoke("ci")


def test_several_processes_lose_no_token(tmp_path):
    program = (
        "import sys\n"
        "from twisted_index.access.tokens import TokenStore\n"
        "from twisted_index.interfaces import Action\n"
        "for number in range(8):\n"
        "    TokenStore(sys.argv[1]).create(f'{sys.argv[2]}-{number}', {Action.READ: ('*',)})\n"
    )
    state = str(tmp_path / "state")
    root = str(Path(__file__).resolve().parents[2])
    running = [
        subprocess.Popen([sys.executable, "-c", program, state, str(number)], cwd=root) for number in range(3)
    ]

    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(TokenStore(state).read()) == 24


@given(st.binary(max_size=80))
def test_whatever_is_sent_is_no_identifier_unless_it_has_the_form_of_a_secret(octets):
    assert identifier_of(octets) == "" or (len(octets) == 60 and octets.startswith(b"tix-"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is led astray")
def test_root_follows_no_link_of_the_owner_of_the_state(tmp_path):
    private, state = tmp_path / "private", tmp_path / "state"
    private.mkdir(mode=0o700)
    state.mkdir()
    (state / "keep").symlink_to(private)
    for path in (state, state / "keep"):
        os.chown(path, 12345, 12345, follow_symlinks=False)

    with pytest.raises(ConfigurationError, match="cannot be written"):
        TokenStore(str(state)).create("ci", UPLOAD)
    assert list(private.iterdir()) == []
    assert private.stat().st_uid == 0
