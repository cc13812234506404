"""Several servers on one bucket, as docs/operating.md says: its haproxy.cfg and its policy, on Ceph."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import trustme

from tests.kit.live_server import LiveServer
from tests.kit.ports import free_ports
from twisted_index.backends.object_store.bucket import WriteForbidden
from twisted_index.backends.object_store.client import StoreBucket
from twisted_index.backends.object_store.s3_signature import S3Credentials, sign_request
from twisted_index.config.bucket_location import parse_location
from twisted_index.config.layers import load
from twisted_index.errors import Unavailable
from twisted_index.testing import make_wheel

DOCS = Path(__file__).resolve().parent.parent / "docs"
GUIDE = (DOCS / "operating.md").read_text(encoding="utf-8").partition("## Several servers")[2]
WHEEL = make_wheel("demo", "1.0")
#: Sent by a client that pretends to come from elsewhere.
FORGED = {"X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66", "X-Remote-User": "root"}


class Balancer:
    """HAProxy with the file of the documents, in front of two servers."""

    def __init__(self, folder: Path, servers: list[LiveServer]) -> None:
        self.folder = folder
        self.port, plain = free_ports(2)
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            str(folder / "index.pem")
        )
        self._context = ssl.create_default_context()
        authority.configure_trust(self._context)
        written = (DOCS / "haproxy.cfg").read_text(encoding="utf-8")
        for before, after in {
            "10.0.0.11:8080": f"127.0.0.1:{servers[0].port}",
            "10.0.0.12:8080": f"127.0.0.1:{servers[1].port}",
            "bind :80\n": f"bind 127.0.0.1:{plain}\n",
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/index.pem": str(folder / "index.pem"),
            "/run/haproxy/admin.sock": str(folder / "admin.sock"),
        }.items():
            assert before in written
            written = written.replace(before, after)
        (folder / "haproxy.cfg").write_text(written)
        with (folder / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log
            )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def get(self, target: str, source: str = "127.0.0.1") -> http.client.HTTPResponse:
        """Ask on a new connection, with headers that only the balancer may set."""
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=30, context=self._context, source_address=(source, 0)
        )
        try:
            connection.request("GET", target, headers=FORGED)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        return answer

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + 30
        while True:
            with suppress(OSError):
                if self.get("/-/health").status == 200:
                    return
            assert time.monotonic() < end, (self.folder / "haproxy.log").read_text()
            time.sleep(0.05)

    def tell(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.folder / "admin.sock"))
            admin.sendall(f"{command}\n".encode())
            assert admin.recv(4096).strip() == b""


@pytest.fixture
def servers(ceph: str, live_server: Callable[..., LiveServer], tmp_path: Path) -> list[LiveServer]:
    """Two servers on a bucket."""
    if shutil.which("haproxy") is None:
        pytest.skip("HAProxy is not installed here: apt install haproxy")
    place_wheel(ceph)
    options = ["--trusted-proxy=127.0.0.1"]
    return [live_server(ceph, options=[*options, f"--access-log={tmp_path / name}"]) for name in "ab"]


@pytest.fixture
def balancer(servers: list[LiveServer], tmp_path: Path) -> Iterator[Balancer]:
    balancer = Balancer(tmp_path, servers)
    try:
        balancer.wait()
        yield balancer
    finally:
        balancer.stop()


def place_wheel(url: str) -> None:
    StoreBucket(parse_location(url)).put(f"demo/{WHEEL.filename}", WHEEL.content, metadata={})


def test_the_address_of_a_client_is_the_one_that_the_balancer_sees(
    balancer: Balancer, servers: list[LiveServer], tmp_path: Path
):
    assert balancer.get("/simple/demo/", source="127.0.0.9").status == 200
    for server in servers:
        server.stop()
    logged = [line for name in "ab" for line in (tmp_path / name).read_text().splitlines()]
    (line,) = [line for line in logged if "/simple/demo/" in line]
    assert line.startswith("127.0.0.9 - - ")


def test_a_server_that_dies_costs_no_request(balancer: Balancer, servers: list[LiveServer]):
    servers[0].stop(signal.SIGKILL)
    assert [balancer.get("/simple/demo/").status for _ in range(6)] == [200] * 6


def test_a_drained_server_gets_no_request(balancer: Balancer, servers: list[LiveServer], tmp_path: Path):
    balancer.tell("set server nodes/a state drain")
    assert [balancer.get("/simple/demo/").status for _ in range(4)] == [200] * 4
    for server in servers:
        server.stop()
    assert "/simple/demo/" not in (tmp_path / "a").read_text()
    assert (tmp_path / "b").read_text().count("/simple/demo/") == 4


def test_servers_of_which_none_is_healthy_say_themselves_what_is_wrong(
    balancer: Balancer, servers: list[LiveServer]
):
    for name in "ab":
        balancer.tell(f"set server nodes/{name} health down")
    assert balancer.get("/simple/demo/").status == 200


def test_the_settings_of_a_server_can_be_loaded(tmp_path: Path):
    (written,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[:1]
    (tmp_path / "index.toml").write_text(written)
    settings = load({"config": str(tmp_path / "index.toml")}, environ={}, folder=str(tmp_path))
    assert settings.bucket == "s3://acme-packages/python"
    assert settings.access.trusted_proxies == ("10.0.0.5",)


# -- The policy


@pytest.fixture
def place(ceph: str) -> str:
    """The URL of a place in a bucket of its own, as it has one policy."""
    bucket = f"policy-{secrets.token_hex(6)}"
    put(bucket)
    return f"s3://{bucket}/python"


@pytest.fixture
def users(place: str, stores_folder: Path) -> dict[str, dict[str, str]]:
    """The two users of the policy, by name, as variables of the environment; the policy is in force."""
    bucket = parse_location(place).bucket
    policy = (DOCS / "bucket-policy.json").read_text(encoding="utf-8").replace("acme-packages", bucket)
    users = {}
    for name in ("index-reader", "index-writer"):
        uid = f"{name}-{secrets.token_hex(4)}"
        policy = policy.replace(f"user/{name}", f"user/{uid}")
        # After a failed start there is another one.
        conf = max(stores_folder.glob("ceph*/ceph.conf"), key=lambda path: path.stat().st_mtime)
        keys = make_user(conf, uid)
        users[name] = {"AWS_ACCESS_KEY_ID": keys["access_key"], "AWS_SECRET_ACCESS_KEY": keys["secret_key"]}
    put(bucket, "?policy=", policy.encode())
    put(bucket, "?lifecycle=", lifecycle())
    return users


def make_user(conf: Path, uid: str) -> dict[str, str]:
    named = ["--uid", uid, "--display-name", uid]
    made = subprocess.run(
        ["radosgw-admin", "-c", conf, "user", "create", *named], check=True, capture_output=True, timeout=90
    )
    (keys,) = json.loads(made.stdout)["keys"]
    return dict(keys)


def lifecycle() -> bytes:
    """The rule of the document, as the API has it."""
    (rule,) = json.loads((DOCS / "bucket-lifecycle.json").read_text(encoding="utf-8"))["Rules"]
    days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    return (
        f"<LifecycleConfiguration><Rule><ID>{rule['ID']}</ID><Status>{rule['Status']}</Status>"
        f"<Filter><Prefix>{rule['Filter']['Prefix']}</Prefix></Filter><AbortIncompleteMultipartUpload>"
        f"<DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"
        "</LifecycleConfiguration>"
    ).encode()


def put(bucket: str, query: str = "", content: bytes = b"") -> None:
    """Make a bucket, or set what is set of it; the environment has the credentials of its owner."""
    url = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}{query}"
    credentials = S3Credentials(
        key=os.environ["AWS_ACCESS_KEY_ID"],
        secret=os.environ["AWS_SECRET_ACCESS_KEY"],
        region=os.environ["AWS_REGION"],
    )
    headers = sign_request(credentials, "PUT", url, datetime.now(UTC), content=content)
    with urlopen(Request(url, content, headers, method="PUT"), timeout=30) as answer:
        assert answer.status in (200, 204)


@pytest.fixture
def bucket_as(
    place: str, users: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], StoreBucket]:
    """Be one of the users."""

    def become(name: str) -> StoreBucket:
        for variable, value in users[name].items():
            monkeypatch.setenv(variable, value)
        return StoreBucket(parse_location(place))

    return become


def test_the_writer_of_the_policy_can_do_all_that_a_server_does(
    bucket_as: Callable[[str], StoreBucket], tmp_path: Path
):
    bucket = bucket_as("index-writer")
    written = bucket.create("demo/a", b"a", metadata={})
    bucket.replace("demo/a", b"b", etag=written.etag, metadata={})
    (tmp_path / "large").write_bytes(bytes(20 << 20))
    with (tmp_path / "large").open("rb") as file:
        bucket.put_file("demo/large", file, 20 << 20, metadata={})
    assert set(bucket.list_all().objects) == {"demo/a", "demo/large"}
    for key in ("demo/a", "demo/large"):
        bucket.delete(key)
    assert bucket.read("demo/a", limit=9) is None
    assert bucket.list_all("demo").objects == {}


def test_the_reader_of_the_policy_reads_and_no_more(bucket_as: Callable[[str], StoreBucket], place: str):
    key = f"demo/{WHEEL.filename}"
    bucket_as("index-writer").put(key, WHEEL.content, metadata={})
    bucket = bucket_as("index-reader")
    assert set(bucket.list_level().folders) == {"demo"}
    found = bucket.read(key, limit=1 << 20)
    assert found is not None
    assert found.content == WHEEL.content
    assert bucket.read(".keep/tokens.json", limit=9) is None
    with pytest.raises(WriteForbidden):
        bucket.put(key, b"", metadata={})
    with pytest.raises(WriteForbidden):
        bucket.delete(key)
    with pytest.raises(Unavailable):
        StoreBucket(parse_location(place.replace("/python", "/other"))).list_all()
