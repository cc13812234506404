"""A release is a draft or complete, wherever a run ends; the next one continues it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.kit.github_server import GitHubServer
from twisted_index.concurrency.thread_pool import ThreadPool
from twisted_index.errors import Conflict, SimpleIndexError
from twisted_index.github import publisher
from twisted_index.github.api import GitHubAPI
from twisted_index.github.comparison import Comparison
from twisted_index.github.model import Release
from twisted_index.github.publisher import Publisher
from twisted_index.github.release_plan import OutgoingFile, ReleaseTerms
from twisted_index.github.repository import parse_repository
from twisted_index.github.token import token_source
from twisted_index.github.upload import upload_url
from twisted_index.http_client import framed_body

TERMS = ReleaseTerms(tag="v1.0")


class Silent:
    """Shows nothing, and counts what is sent."""

    def __init__(self) -> None:
        self.sent = 0

    def expect(self, files: int, size: int) -> None:
        """See `IUploads`."""

    def advance(self, size: int) -> None:
        self.sent += size

    def done(self, name: str, size: int) -> None:
        """See `IUploads`."""


def outgoing(name: str, content: bytes) -> OutgoingFile:
    digest = hashlib.sha256(content).hexdigest()
    return OutgoingFile(name=name, size=len(content), sha256=digest, open=lambda: io.BytesIO(content))


#: GitHub changes the name of the second one.
CONTENTS = {"demo-1.0.tar.gz": b"a" * 70_000, "demo-2!1.0.tar.gz": b"b" * 10, "demo-3.0.tar.gz": b"c" * 10}
FILES = [outgoing(name, content) for name, content in CONTENTS.items()]


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(publisher, "_BACK_OFF", 0.0)


@pytest.fixture
def publish(background):
    """Run a publisher for a server's repository, from its plan to the published release."""

    def run(word: str, files=FILES, terms=TERMS, progress=None) -> Release:
        made: list[Release] = []

        async def work() -> None:
            reactor, repository = background.reactor, parse_repository(word)
            worker = ThreadPool(reactor)
            token = token_source(repository, {"GITHUB_TOKEN": "secret"})
            api = GitHubAPI(repository, reactor, environ={}, token=token, worker=worker, instance="test")
            try:
                comparison = Comparison(api, reactor, terms.tag, files)
                one = Publisher(api, reactor, terms, comparison, progress or Silent())
                made.append(await one.publish(await comparison.plan()))
            finally:
                await api.close()
                await worker.stop()

        background.call(work, 60)
        return made[0]

    return run


def serving(forgejo: bool) -> tuple[GitHubServer, Any]:
    server = GitHubServer(forgejo=forgejo, prefix=None if forgejo else "/api/v3")
    server.token("secret", write=("octo/wheels",))
    return server, server.repository("octo/wheels")


def state(release) -> list[tuple[str, bytes, str]]:
    """What a release has: each file's own name, its content, and whether that is whole."""
    return sorted((asset.label or asset.name, asset.content, asset.state) for asset in release.assets)


COMPLETE = sorted((name, content, "uploaded") for name, content in CONTENTS.items())


def begun(repo) -> None:
    """Leave a draft of an earlier run: a file, the begin of one, and other content."""
    draft = repo.release("v1.0", {"demo-3.0.tar.gz": b"old"}, draft=True)
    draft.add("demo-1.0.tar.gz", b"a" * 9, state="uploaded" if repo.forge.keeps_names else "starter")


@pytest.mark.parametrize("is_heard", [True, False], ids=["answered", "unanswered"])
@pytest.mark.parametrize("prepare", [lambda repo: None, begun], ids=["new", "begun"])
@pytest.mark.parametrize("forgejo", [False, True], ids=["github", "forgejo"])
def test_a_release_is_never_published_incomplete_and_the_next_run_completes_it(
    publish, forgejo: bool, prepare: Callable[[Any], None], is_heard: bool
):
    """The run ends before or after each of its requests, as if it had been killed there."""
    for number in range(1, 100):
        server, repo = serving(forgejo)
        with server:
            prepare(repo)
            if not is_heard:
                server.rule(".", first=number, send=0)
            server.rule(".", first=number + (not is_heard), times=None, status=401)
            try:
                publish(server.word(repo))
                ended = False
            except SimpleIndexError:
                ended = True
            for release in repo.published:
                assert state(release) == COMPLETE
            server.rules.clear()
            publish(server.word(repo))
            (release,) = repo.releases
            assert not release.is_draft
            assert state(release) == COMPLETE
            assert server.errors == []
        if not ended:
            break
    assert not ended
    assert number > 7


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([replace(FILES[0], size=(2 << 30) + 1)], "no file of more than 2 GiB: demo-1.0.tar.gz"),
        ([replace(FILES[0], name=f"demo-{n}.tar.gz") for n in range(1001)], "at most 1000 files"),
    ],
)
def test_nothing_is_sent_of_what_github_does_not_take(publish, files, sentence: str):
    with GitHubServer() as server:
        word = server.word(server.repository("octo/wheels"))

        with pytest.raises(Conflict, match=sentence):
            publish(word, files)

        assert server.asked(None) == []


def test_the_files_are_sent_in_pieces(publish):
    largest = 0

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal largest
            piece = super().read(size)
            largest = max(largest, len(piece))
            return piece

    content = b"x" * 3_000_000
    file = OutgoingFile(
        name="demo-1.0.zip",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        open=lambda: Counted(content),
    )
    server, repo = serving(False)
    progress = Silent()
    with server:
        publish(server.word(repo), [file], progress=progress)

    assert repo.find("v1.0").assets[0].content == content
    assert progress.sent == len(content)
    assert 0 < largest <= 65536


@pytest.mark.parametrize("now", [b"shorter", b"longer than it was", b"changed!!!"])
def test_a_file_that_changes_meanwhile_is_not_published(publish, now: bytes):
    then = b"as it was."
    digest = hashlib.sha256(then).hexdigest()
    file = OutgoingFile(name="demo-1.0.zip", size=10, sha256=digest, open=lambda: io.BytesIO(now))
    server, repo = serving(False)
    with server, pytest.raises(SimpleIndexError):
        publish(server.word(repo), [file])
    assert repo.find("v1.0").is_draft


def test_an_upload_that_stalls_is_given_up_and_repeated(publish, monkeypatch):
    monkeypatch.setattr(framed_body, "STALL", 0.2)
    server, repo = serving(False)
    with server:
        server.rule("POST .*/assets", seconds=2.0)
        publish(server.word(repo), FILES[:1])
    assert state(repo.find("v1.0")) == COMPLETE[:1]


# -- Where uploads go


def release_at(upload_url: str) -> Release:
    return Release(id=7, tag="v1.0", url="https://unused.invalid/", upload_url=upload_url)


@pytest.mark.parametrize(
    ("word", "url"),
    [
        ("github:o/r", "https://uploads.github.com/repos/o/r/releases/7/assets"),
        ("github:o/r", "https://api.github.com/repos/o/r/releases/7/assets"),
        ("github+https://api.acme.ghe.com:o/r", "https://uploads.acme.ghe.com/repos/o/r/releases/7/assets"),
        (
            "github+https://ghe.example/api/v3:o/r",
            "https://ghe.example/api/uploads/repos/o/r/releases/7/assets",
        ),
    ],
)
def test_uploads_go_to_the_api_and_to_githubs_server_for_them(word, url):
    assert upload_url(parse_repository(word), release_at(url)) == url


@pytest.mark.parametrize(
    ("word", "url"),
    [
        ("github:o/r", "https://uploads.github.com.example/repos/o/r/releases/7/assets"),
        ("github:o/r", "http://uploads.github.com/repos/o/r/releases/7/assets"),
        ("github:o/r", "https://uploads.github.com:8443/repos/o/r/releases/7/assets"),
        ("github:o/r", "https://uploads.acme.ghe.com/repos/o/r/releases/7/assets"),
        ("github+https://api.acme.ghe.com:o/r", "https://uploads.other.ghe.com/repos/o/r/releases/7/assets"),
        ("github+https://api.acme.ghe.com:o/r", "https://uploads.github.com/repos/o/r/releases/7/assets"),
        ("github+https://ghe.example/api/v3:o/r", "https://uploads.ghe.example/repos/o/r/releases/7/assets"),
        ("github+https://api.evil.example:o/r", "https://uploads.evil.example/repos/o/r/releases/7/assets"),
    ],
)
def test_other_servers_get_no_uploads(word, url):
    with pytest.raises(SimpleIndexError, match="the token is not sent there"):
        upload_url(parse_repository(word), release_at(url))


def test_a_url_for_uploads_that_is_none_is_refused():
    with pytest.raises(SimpleIndexError, match="cannot be requested"):
        upload_url(parse_repository("github:o/r"), release_at("ftp://uploads.github.com/"))


@pytest.mark.parametrize(
    "word", ["forgejo+https://code.example/api/v1:o/r", "github+https://ghe.example:o/r"]
)
def test_without_a_url_for_uploads_they_go_below_the_release(word):
    repository = parse_repository(word)
    assert upload_url(repository, release_at("")) == f"{repository.url}/releases/7/assets"
