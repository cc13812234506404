"""Access out of settings: what works, and what is told at the start."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.strcred import ICheckerFactory, findCheckerFactory
from twisted.internet.defer import CancelledError
from zope.interface.verify import verifyObject

from twisted_index.access import factory
from twisted_index.access.control import AccessControl, AnonymousAccess
from twisted_index.access.factory import make_access
from twisted_index.access.htpasswd import HtpasswdPlugin
from twisted_index.access.tokens import TokenStore
from twisted_index.access.trusted_proxies import TrustedProxies
from twisted_index.concurrency.fair_queue import FairQueue
from twisted_index.config.network_parsers import trusted_proxy
from twisted_index.config.settings import AccessSettings, UploadSettings
from twisted_index.errors import ConfigurationError, Unauthorized
from twisted_index.interfaces import ANONYMOUS, Action, Credentials

from .conftest import ALICE, OnDemand, outcome

#: Basic alice:wonderland
AUTHORIZATION = b"Basic YWxpY2U6d29uZGVybGFuZA=="


@pytest.fixture
def access(clock, worker):
    def make(state=None, *, upload=False, anyone=False, **guarding):
        publishing = UploadSettings(upload=upload, anonymous_upload=anyone)
        return make_access(AccessSettings(**guarding), publishing, state, clock, worker)

    return make


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_bytes(ALICE)
    return path


def alice(access):
    return outcome(access.authenticate(Credentials(authorization=AUTHORIZATION)))


def test_with_nothing_it_is_open(access):
    assert isinstance(access(), AnonymousAccess)


def test_with_a_state_there_may_be_tokens_one_day(access, tmp_path):
    made = access(str(tmp_path / "state"))

    assert isinstance(made, AccessControl)
    assert made.public_read
    assert not made.has_users
    assert not (tmp_path / "state").exists()


def test_users_of_an_htpasswd_file(access, users):
    assert alice(access(auth=(f"htpasswd:{users}",), upload=True)).user == "alice"


def test_users_of_twisteds_own_file(access, tmp_path):
    path = tmp_path / "plain"
    path.write_bytes(b"alice:wonderland\n")

    assert alice(access(auth=(f"file:{path}",))).user == "alice"


def test_users_on_the_command_line(access):
    assert alice(access(auth=("memory:bob:builder:alice:wonderland",))).user == "alice"


def test_users_of_the_system_are_asked_in_a_thread(access, worker, monkeypatch):
    from twisted.plugins import cred_unix

    monkeypatch.setattr(factory, "_require_crypt", lambda: None)
    monkeypatch.setattr(cred_unix.UNIXChecker, "checkPwd", lambda self, pwd, user, password: None)
    monkeypatch.setattr(
        cred_unix.UNIXChecker, "requestAvatarId", lambda self, given: cred_unix.defer.succeed(given.username)
    )
    made = access(auth=("unix",))

    assert alice(made).user == "alice"
    assert len(worker.calls) == 1


def test_whoever_leaves_frees_no_thread_that_is_still_busy(monkeypatch, clock):
    from twisted.plugins import cred_unix

    monkeypatch.setattr(factory, "_require_crypt", lambda: None)
    monkeypatch.setattr(
        cred_unix.UNIXChecker, "requestAvatarId", lambda self, given: cred_unix.defer.succeed(given.username)
    )
    later, turns = OnDemand(), FairQueue(clock, limit=1)
    checker = factory.make_checker("unix", clock, later, turns)
    first, second = (checker.requestAvatarId(UsernamePassword(b"alice", b"x")) for _ in range(2))
    first.addErrback(lambda failure: failure.trap(CancelledError))
    first.cancel()

    assert len(later.waiting) == 1
    later.work()
    assert len(later.waiting) == 1
    later.work()
    assert outcome(second) == b"alice"


def test_rights_come_from_their_file(access, users, tmp_path):
    path = tmp_path / "rights.toml"
    path.write_text('[[rule]]\nprojects = "*"\nallow = "read"\nto = "users"\n')
    made = access(auth=(f"htpasswd:{users}",), rights=str(path))

    assert not made.public_read
    assert made.permits(alice(made), Action.READ, "numpy")
    assert not made.permits(ANONYMOUS, Action.READ, "numpy")


@pytest.mark.parametrize(
    "given", [{"anyone": True}, {"auth": ("memory:a:b",)}, {"trusted_proxies": ("users:unix",)}]
)
def test_uploads_have_somebody_to_come_from(access, given):
    assert access(upload=True, **given).permits


@pytest.mark.parametrize(
    "text", ["10.0.0.0/8", "users:10.0.0.0/8", "unix", "users:unix", "users:2001:db8::/32"]
)
def test_a_proxy_is_written_alike_in_options_and_here(text):
    assert TrustedProxies([trusted_proxy(text)])
    assert TrustedProxies([trusted_proxy(text)]).asserts_users is text.startswith("users:")


def test_a_token_is_somebody_to_upload(access, tmp_path):
    TokenStore(str(tmp_path)).create("ci", {Action.UPLOAD: ("*",)})
    assert access(str(tmp_path), upload=True).has_users


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"upload": True}, "Uploads require a user: "),
        ({"upload": True, "trusted_proxies": ("unix",)}, "Uploads require a user: "),
        ({"auth": ("htpasswd:/nowhere/users",)}, "/nowhere/users: the users cannot be read: No such file"),
        ({"auth": ("htpasswd",)}, "--auth htpasswd: write htpasswd:FILE."),
        ({"auth": ("file:/nowhere/users",)}, "--auth file: /nowhere/users: No such file or directory."),
        ({"auth": ("memory:alice",)}, "--auth memory: argstring must be in format U:P:"),
        (
            {"auth": ("anonymous",)},
            "--auth anonymous: this type checks no passwords; available: file, htpasswd, ",
        ),
        ({"auth": ("ldap:x",)}, "--auth ldap: unknown type; available: file, htpasswd, memory"),
        ({"rights": "/nowhere/rights"}, "/nowhere/rights: the rights cannot be read: No such file"),
        (
            {"rights": "/nowhere/rights", "anyone": True},
            "--anonymous-upload cannot be combined with a file of rights",
        ),
        ({"trusted_proxies": ("localhost",)}, "'localhost' is not a trusted proxy"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(access, given, sentence):
    with pytest.raises(ConfigurationError) as caught:
        access(**given)
    assert caught.value.message.startswith(sentence)


def test_damaged_tokens_are_told_of_at_the_start(access, tmp_path):
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "tokens.json").write_text("{")
    with pytest.raises(ConfigurationError, match="the tokens are damaged"):
        access(str(tmp_path))


def test_what_python_cannot_do_any_more_is_told_at_the_start(access, monkeypatch):
    monkeypatch.setattr(factory.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="use htpasswd:FILE"):
        access(auth=("unix",))


def test_no_password_of_the_command_line_is_repeated(access):
    with pytest.raises(ConfigurationError) as caught:
        access(auth=("memory:alice:hidden:bob",))
    assert "hidden" not in caught.value.message


# -- The plugin


def test_every_twisted_server_knows_htpasswd():
    factory = findCheckerFactory("htpasswd")

    assert verifyObject(ICheckerFactory, factory)
    assert isinstance(factory.generateChecker("users"), HtpasswdPlugin)
    with pytest.raises(ValueError, match="filename"):
        factory.generateChecker("")


def test_the_plugin_asks_for_a_reactor_only_when_there_is_a_password(tmp_path):
    program = (
        "import sys\n"
        "from twisted.cred.strcred import makeChecker\n"
        "makeChecker('htpasswd:users')\n"
        "print('twisted.internet.reactor' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout == "False\n"


def test_tokens_do_not_take_uploads_from_everyone_where_there_are_no_users(access, tmp_path):
    """Twine and uv send a user and a password in any case."""
    state = str(tmp_path)
    TokenStore(state).create("ci", {Action.UPLOAD: ("*",)})
    guarded = access(state, upload=True, anyone=True)
    assert outcome(guarded.authenticate(Credentials(authorization=AUTHORIZATION))) is ANONYMOUS

    wrong = b"Basic " + base64.b64encode(b"__token__:tix-wrong")
    with pytest.raises(Unauthorized):
        outcome(guarded.authenticate(Credentials(authorization=wrong)))
