"""What a replica makes of the responses of its primary, and of whatever else may respond in its place."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.kit.hostile_upstream import Asked, HostileUpstream, answer, reset
from tests.kit.ports import free_port
from twisted_index.concurrency.parallel import at_once
from twisted_index.concurrency.thread_pool import SynchronousRunner
from twisted_index.errors import Gone, SimpleIndexError
from twisted_index.events.serials import REMOVED, Change, Count
from twisted_index.http_client.limits import ClientLimits
from twisted_index.replication import primary_client
from twisted_index.replication.epoch import Epoch
from twisted_index.replication.primary_client import PrimaryServer
from twisted_index.simple.entry_listing import MAX_INLINE, Entry, EntryListing, format_batch, format_listing
from twisted_index.testing.reactor_thread import BackgroundReactor

ONE, TWO = "1" * 32, "2" * 32
FEED = f"{ONE} 7\n5 {TWO} acme\n7 - gone\n".encode()
TEXT = {"Content_Type": "text/plain; charset=utf-8"}
JSON = {"Content_Type": "application/json"}
NOW = 1_800_000_000.0
BYTES = bytes(range(256)) * 1000


class Client:
    """Asks a server as a replica does."""

    def __init__(self, background: BackgroundReactor) -> None:
        self.background = background
        self.environ: dict[str, str] = {}
        self.epoch: Epoch | None = None

    def ask(self, url: str, work: Callable[[Any], Awaitable[Any]], name: str = "") -> Any:
        return self.ask_server(url, lambda server: work(server.index(name)))

    def ask_server(self, url: str, work: Callable[[PrimaryServer], Awaitable[Any]]) -> Any:
        results: list[Any] = []

        async def run() -> None:
            server = PrimaryServer(
                url,
                self.background.reactor,
                worker=SynchronousRunner(),
                environ=self.environ,
                epoch=lambda: self.epoch,
                wall=lambda: NOW,
                limits=ClientLimits(head=5.0, idle=5.0, tries=2, back_off=0.01),
            )
            try:
                results.append(await work(server))
            finally:
                await server.close()

        self.background.call(run, 30)
        return results[0]


@pytest.fixture
def client(background: BackgroundReactor) -> Client:
    return Client(background)


def entry(path: str, content: bytes) -> Entry:
    return Entry(path, hashlib.sha256(content).hexdigest(), len(content), 1)


def refusal(client: Client, url: str, work: Callable[[Any], Awaitable[Any]]) -> str:
    with pytest.raises(SimpleIndexError) as caught:
        client.ask(url, work)
    assert caught.value.message.endswith((".", "?"))
    return caught.value.message


# Changes


def test_all_changes_come_with_what_their_header_fields_say(client: Client, hostile: HostileUpstream):
    fields = {
        "Date": formatdate(NOW + 90, usegmt=True),
        "X_Index_Epoch": f"3 {TWO}",
        "X_Index_Reading": "restricted",
        "X_Index_Before": f"{TWO} 4",
    }
    hostile.on("/-/changes", answer(200, FEED, **TEXT, **fields))

    feed = client.ask(hostile.origin, lambda index: index.changes())

    assert (feed.instance, feed.highest) == (ONE, 7)
    assert feed.changes == {"acme": Change(5, TWO), "gone": Change(7, REMOVED)}
    assert (feed.epoch, feed.restricted, feed.before) == (Epoch(3, TWO), True, Count(TWO, 4))
    assert feed.skew == pytest.approx(90, abs=1)


@pytest.mark.parametrize("said", ["", TWO, f"{TWO} x", f"{TWO} 4 5", f"{TWO} -4", "\xe9 4"])
def test_what_names_no_serials_is_nothing_to_go_on_from(client: Client, hostile: HostileUpstream, said: str):
    hostile.on("/-/changes", answer(200, FEED, **TEXT, X_Index_Before=said))
    assert client.ask(hostile.origin, lambda index: index.changes()).before is None


@pytest.mark.parametrize(("offset", "skew"), [(-0.5, 0), (0.5, 0.0), (-70, -69), (70, 70)])
def test_a_clock_is_wrong_only_if_no_moment_of_the_wait_explains_it(
    client: Client, hostile: HostileUpstream, offset: float, skew: float
):
    fields = {"Date": formatdate(int(NOW + offset), usegmt=True)}
    hostile.on("/-/changes", answer(304, **fields))
    feed = client.ask(hostile.origin, lambda index: index.changes(since=1, wait=30))

    assert feed.skew == skew


def test_a_feed_may_be_compressed(client: Client, hostile: HostileUpstream):
    hostile.on("/-/changes", answer(200, gzip.compress(FEED), **TEXT, Content_Encoding="gzip"))

    assert client.ask(hostile.origin, lambda index: index.changes()).highest == 7


def test_a_wait_without_a_change_tells_the_rest_all_the_same(client: Client, hostile: HostileUpstream):
    hostile.on("/-/changes", answer(304, X_Index_Epoch=f"3 {TWO}"))
    client.epoch = Epoch(2, ONE)

    feed = client.ask(hostile.origin, lambda index: index.changes(since=9, instance=ONE, wait=30))

    assert (feed.instance, feed.highest, feed.changes, feed.epoch) == (ONE, 9, {}, Epoch(3, TWO))
    assert hostile.targets() == [f"/-/changes?since=9&instance={ONE}&wait=30"]
    assert hostile.asked[0].fields["x-index-epoch"] == f"2 {ONE}"


def test_serials_that_have_begun_anew_are_told_apart(client: Client, hostile: HostileUpstream):
    hostile.on("/-/changes", answer(410, b'{"message": "Compare."}', **JSON))

    with pytest.raises(Gone):
        client.ask(hostile.origin, lambda index: index.changes(since=9))


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (answer(200, b"<html>Log in", Content_Type="text/html"), "text/html came in place of"),
        (answer(200, FEED[:-5], **TEXT), "only a part"),
        (answer(200, f"{ONE} 6\n7 {TWO} acme\n".encode(), **TEXT), "damaged"),
        (answer(200, f"{ONE} 7\n7 {TWO} ../acme\n".encode(), **TEXT), "damaged"),
        (answer(200, f"{ONE} 7\n7 {TWO} {'a' * 256}\n".encode(), **TEXT), "damaged"),
        (answer(200, FEED, length=500, **TEXT), "before the end"),
        (answer(200, b"no gzip", **TEXT, Content_Encoding="gzip"), "not gzip"),
        (answer(200, gzip.compress(FEED)[:-9], **TEXT, Content_Encoding="gzip"), "truncated"),
        (answer(302, Location="https://login.example.org/"), "redirects to https://login.example.org/"),
        (answer(404, b"<html>", Content_Type="text/html"), "Status 404 came from"),
        (answer(404, b'{"message": "No such page."}', **JSON), "no list of changes: No such page."),
        (answer(503, b'{"message": "The folder is away."}', **JSON), "The folder is away."),
        (b"", "closed the connection"),
    ],
)
def test_a_response_that_is_no_feed_is_an_error_with_a_sentence(
    client: Client, hostile: HostileUpstream, response: bytes, says: str
):
    hostile.on("/-/changes", response)

    assert says in refusal(client, hostile.origin, lambda index: index.changes())


def test_a_primary_that_is_away_is_told(client: Client):
    url = f"http://127.0.0.1:{free_port()}"

    assert "primary" in refusal(client, url, lambda index: index.changes())


@pytest.mark.parametrize(("status", "says"), [(401, "does not accept the token"), (403, "lacks the right")])
def test_a_refused_token_is_mentioned_and_not_shown(
    client: Client, hostile: HostileUpstream, status: int, says: str
):
    hostile.on("/-/changes", answer(status, b'{"message": "No."}', **JSON))
    url = hostile.origin.replace("//", "//__token__:secret@")

    message = refusal(client, url, lambda index: index.changes())

    assert says in message
    assert "secret" not in message


def test_a_token_that_is_missing_is_asked_for(client: Client, hostile: HostileUpstream):
    hostile.on("/-/changes", answer(401))

    assert "there is none" in refusal(client, hostile.origin, lambda index: index.changes())


def test_the_token_is_that_of_the_url_or_of_netrc(client: Client, hostile: HostileUpstream, tmp_path: Any):
    hostile.on("/packages/-/changes", answer(200, FEED, **TEXT))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login __token__ password of-netrc\n")
    client.environ["NETRC"] = str(tmp_path / "netrc")

    client.ask(f"{hostile.origin}/packages", lambda index: index.changes())
    url = hostile.origin.replace("//", "//__token__:of-url@")
    client.ask(f"{url}/packages/", lambda index: index.changes())

    sent = [base64.b64decode(asked.fields["authorization"].split()[1]) for asked in hostile.asked]
    assert sent == [b"__token__:of-netrc", b"__token__:of-url"]


def test_an_index_with_a_name_is_below_its_own_url(client: Client, hostile: HostileUpstream):
    hostile.on("/+dev/-/changes", answer(200, FEED, **TEXT))

    assert client.ask(hostile.origin, lambda index: index.changes(), "dev").highest == 7


# Entries

LISTING = EntryListing(
    5, TWO, (entry("acme/a.whl", b"aaaa"), entry("acme/b.whl", BYTES), entry("acme/c.whl", b""))
)


def test_small_files_come_with_the_listing(client: Client, hostile: HostileUpstream):
    body = format_listing(LISTING) + b"\naaaa"
    hostile.on("/-/entries/acme", answer(200, body, **TEXT, X_Index_Inline="1000"))

    listing, inline = client.ask(hostile.origin, lambda index: index.entries("acme", inline=65536))

    assert listing == LISTING
    assert inline == {"acme/a.whl": b"aaaa", "acme/c.whl": b""}
    assert hostile.targets() == ["/-/entries/acme?inline=65536"]


@pytest.mark.parametrize("limit", ["many", "\xb2", "9" * 5000])
def test_contents_without_a_numeric_limit_are_ignored(client: Client, hostile: HostileUpstream, limit: str):
    body = format_listing(LISTING) + b"\naaaa"
    hostile.on("/-/entries/acme", answer(200, body, **TEXT, X_Index_Inline=limit))

    listing, inline = client.ask(hostile.origin, lambda index: index.entries("acme", inline=65536))

    assert (listing, set(inline) - {"acme/c.whl"}) == (LISTING, set())


def test_contents_that_are_cut_off_are_not_taken(client: Client, hostile: HostileUpstream):
    body = format_listing(LISTING) + b"\naaaa" + BYTES[:-1]
    hostile.on("/-/entries/acme", answer(200, body, **TEXT, X_Index_Inline=str(len(BYTES))))

    _listing, inline = client.ask(hostile.origin, lambda index: index.entries("acme", inline=65536))

    assert inline == {"acme/a.whl": b"aaaa"}


def test_a_listing_without_contents_is_one(client: Client, hostile: HostileUpstream):
    hostile.on("/-/entries/acme", answer(200, format_listing(LISTING), **TEXT))

    assert client.ask(hostile.origin, lambda index: index.entries("acme")) == (LISTING, {})


def test_only_the_primary_itself_can_say_that_a_project_is_gone(client: Client, hostile: HostileUpstream):
    hostile.on("/-/entries/gone", answer(404, b'{"message": "There is no project gone here."}', **JSON))
    hostile.on("/-/entries/acme", answer(404, b"<html>Not found", Content_Type="text/html"))

    assert client.ask(hostile.origin, lambda index: index.entries("gone")) is None
    assert "Status 404 came" in refusal(client, hostile.origin, lambda index: index.entries("acme"))


def test_a_listing_is_asked_for_again_if_the_primary_is_busy(client: Client, hostile: HostileUpstream):
    whole = answer(200, format_listing(LISTING), **TEXT)
    hostile.on("/-/entries/acme", answer(503, Retry_After="0"), whole)

    assert client.ask(hostile.origin, lambda index: index.entries("acme"))[0] == LISTING


# Batches

ALONE = answer(200, format_listing(LISTING) + b"\n", **TEXT, X_Index_Inline="10")


def ask_all(*projects: str, inline: int = MAX_INLINE) -> Callable[[Any], Awaitable[Any]]:
    async def ask(index: Any) -> Any:
        return await at_once(9, lambda project: index.entries(project, inline=inline), projects)

    return ask


def test_projects_that_are_wanted_at_once_come_in_one_response(client: Client, hostile: HostileUpstream):
    listing = format_listing(LISTING)
    batch = format_batch({"acme": listing + b"\naaaa", "other": listing, "third": listing})
    hostile.on("/-/entries/", answer(200, batch, **TEXT, X_Index_Inline="10"))

    acme, other = client.ask(hostile.origin, ask_all("acme", "other"))

    assert acme == (LISTING, {"acme/a.whl": b"aaaa", "acme/c.whl": b""})
    assert other == (LISTING, {})
    assert hostile.targets() == [f"/-/entries/?inline={MAX_INLINE}&project=acme&project=other"]


def test_projects_that_are_wanted_meanwhile_come_in_the_next_one(client: Client, hostile: HostileUpstream):
    batch = format_batch(dict.fromkeys(("a", "b", "c", "d"), format_listing(LISTING)))
    hostile.on("/-/entries/", answer(200, batch, **TEXT, X_Index_Inline="10"))

    async def ask(index: Any) -> None:
        first = Deferred.fromCoroutine(ask_all("a", "b")(index))
        while not hostile.asked:
            await deferLater(client.background.reactor, 0.001)
        await ask_all("c", "d")(index)
        await first

    client.ask(hostile.origin, ask)

    assert [target.partition("&")[2] for target in hostile.targets()] == [
        "project=a&project=b",
        "project=c&project=d",
    ]


def test_listings_alone_come_in_one_response_too(client: Client, hostile: HostileUpstream):
    batch = format_batch(dict.fromkeys(("acme", "other"), format_listing(LISTING)))
    hostile.on("/-/entries/", answer(200, batch, **TEXT, X_Index_Inline="0"))

    assert client.ask(hostile.origin, ask_all("acme", "other", inline=0)) == [(LISTING, {})] * 2
    assert hostile.targets() == ["/-/entries/?inline=0&project=acme&project=other"]


def test_a_batch_that_everyone_has_left_keeps_no_other_project_waiting(
    client: Client, hostile: HostileUpstream
):
    batch = format_batch(dict.fromkeys(("c", "d"), format_listing(LISTING)))
    hostile.on("/-/entries/", answer(200, batch, **TEXT, X_Index_Inline="10"))

    async def ask(index: Any) -> Any:
        left = Deferred.fromCoroutine(ask_all("a", "b")(index))
        left.addErrback(lambda failure: failure.trap(CancelledError) and None)
        left.cancel()
        return await ask_all("c", "d")(index)

    assert client.ask(hostile.origin, ask) == [(LISTING, {})] * 2


@pytest.mark.parametrize(
    "response",
    [
        answer(200, format_batch({"third": b""}), **TEXT),
        answer(200, b"acme 100\n", **TEXT),
        answer(200, format_batch({"acme": b"", "other": b""}), **TEXT),
        answer(404, b'{"message": "There is no such page."}', **JSON),
        answer(500),
        lambda connection, _asked: reset(connection),
    ],
)
def test_what_no_batch_has_is_asked_for_by_itself(client: Client, hostile: HostileUpstream, response: Any):
    hostile.on("/-/entries/", response)
    hostile.on("/-/entries/acme", ALONE)
    hostile.on("/-/entries/other", answer(404, b'{"message": "There is no project other here."}', **JSON))

    assert client.ask(hostile.origin, ask_all("acme", "other")) == [(LISTING, {}), None]


def test_a_server_that_knows_no_batches_is_asked_for_one_once(client: Client, hostile: HostileUpstream):
    hostile.on("/-/entries/", answer(404, b'{"message": "There is no such page."}', **JSON))
    hostile.on("/-/entries/acme", ALONE)
    hostile.on("/-/entries/other", ALONE)

    async def ask_twice(index: Any) -> None:
        for _time in range(2):
            await ask_all("acme", "other")(index)

    client.ask(hostile.origin, ask_twice)

    assert [target[:13] for target in hostile.targets()].count("/-/entries/?i") == 1


# Indexes


def test_the_indexes_of_a_primary_are_those_that_it_lists(client: Client, hostile: HostileUpstream):
    rows = b'{"indexes": [{"name": "dev"}, {"name": "../etc"}, {"name": "prod"}]}'
    hostile.on("/+/", answer(200, rows, **JSON))

    assert client.ask_server(hostile.origin, lambda server: server.indexes()) == ("dev", "prod")


def test_a_server_with_more_indexes_than_any_has_none_made_here(client: Client, hostile: HostileUpstream):
    listed = {"indexes": [{"name": f"index{number}"} for number in range(1001)]}
    hostile.on("/+/", answer(200, json.dumps(listed).encode(), **JSON))

    with pytest.raises(SimpleIndexError, match="1,001 indexes"):
        client.ask_server(hostile.origin, lambda server: server.indexes())


def test_a_primary_without_indexes_has_none(client: Client, hostile: HostileUpstream):
    hostile.on("/+/", answer(404, b'{"message": "This server has one index only."}', **JSON))

    assert client.ask_server(hostile.origin, lambda server: server.indexes()) == ()


# Bytes


def read(client: Client, hostile: HostileUpstream, size: int = len(BYTES)) -> bytes:
    written: list[bytes] = []
    item = Entry("Acme/a b#é.whl", "0" * 64, size, 1)
    client.ask(hostile.origin, lambda index: index.read("acme", item, written.append))
    return b"".join(written)


def test_the_bytes_of_an_entry_are_those_of_its_path(client: Client, hostile: HostileUpstream):
    hostile.on("/-/entries/acme", answer(200, BYTES))

    assert read(client, hostile) == BYTES
    assert hostile.targets() == ["/-/entries/acme?path=Acme%2Fa%20b%23%C3%A9.whl"]


def test_a_download_resumes_where_it_broke_off(client: Client, hostile: HostileUpstream):
    def break_off(connection: socket.socket, _asked: Asked) -> None:
        connection.sendall(answer(200, BYTES[:100_000], length=len(BYTES)))
        connection.shutdown(socket.SHUT_WR)

    def rest(connection: socket.socket, asked: Asked) -> None:
        first = int(asked.fields["range"].removeprefix("bytes=").removesuffix("-"))
        span = f"bytes {first}-{len(BYTES) - 1}/{len(BYTES)}"
        connection.sendall(answer(206, BYTES[first:], Content_Range=span))

    hostile.on("/-/entries/acme", break_off, rest)

    assert read(client, hostile) == BYTES
    assert hostile.asked[1].fields["range"] == "bytes=100000-"


def test_a_download_that_starts_over_takes_no_bytes_twice(client: Client, hostile: HostileUpstream):
    cut = answer(200, BYTES[:100_000], length=len(BYTES))
    hostile.on("/-/entries/acme", cut, answer(200, BYTES))

    assert read(client, hostile) == BYTES


def test_a_download_without_progress_is_given_up(client: Client, hostile: HostileUpstream):
    hostile.on("/-/entries/acme", lambda connection, _asked: reset(connection))

    with pytest.raises(SimpleIndexError):
        read(client, hostile)
    assert len(hostile.asked) < 10


@pytest.mark.parametrize(
    "response",
    [
        answer(200, BYTES + b"!"),
        answer(200, BYTES[:-1]),
        answer(200, b"<html>" + BYTES[6:], Content_Type="text/html"),
        answer(404, b'{"message": "Gone."}', **JSON),
    ],
)
def test_other_bytes_than_those_of_the_listing_are_an_error(
    client: Client, hostile: HostileUpstream, response: bytes
):
    hostile.on("/-/entries/acme", response)

    with pytest.raises(SimpleIndexError):
        read(client, hostile)


def test_bytes_that_come_one_by_one_do_not_hold_their_place_for_ever(
    client: Client, hostile: HostileUpstream, monkeypatch: pytest.MonkeyPatch
):
    def drip(connection: socket.socket, _asked: Asked) -> None:
        connection.sendall(answer(200, length=len(BYTES)))
        for byte in hostile.endless(b"x"):
            connection.sendall(byte)
            hostile.stopping.wait(0.05)

    hostile.on("/-/entries/acme", drip)
    monkeypatch.setattr(primary_client, "_TOTAL", 0.2)
    monkeypatch.setattr(primary_client, "_SLOWEST", len(BYTES))

    with pytest.raises(SimpleIndexError, match="within"):
        read(client, hostile)


def test_a_full_disk_ends_the_download(client: Client, hostile: HostileUpstream):
    hostile.on("/-/entries/acme", answer(200, BYTES))

    def fail(_piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    item = Entry("a.whl", "0" * 64, len(BYTES), 1)
    with pytest.raises(OSError, match="No space"):
        client.ask(hostile.origin, lambda index: index.read("acme", item, fail))
    assert len(hostile.asked) == 1
