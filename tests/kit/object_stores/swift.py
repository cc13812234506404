"""OpenStack Swift by its S3 interface: conditional creates that are not atomic, and no If-Match at all."""

from __future__ import annotations

import getpass
import os
import shutil
from pathlib import Path
from typing import ClassVar

from tests.kit.object_stores.store import REGION, Store, make_s3_bucket

_COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/data
mount_check = false
fallocate_reserve = 0
log_address = {folder}/none
client_timeout = 60
"""

_CLUSTER = """
[swift-hash]
swift_hash_path_suffix = {secret}
[storage-policy:0]
name = plain
default = yes
"""

_SERVER = """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memory}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
dns_compliant_bucket_names = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""

_COPIES = 3
_KINDS = ("account", "container", "object")


class Swift(Store):
    """Each of its servers once, with three copies of everything."""

    name = "swift"
    needs = "apt install memcached, pip install swift==2.38.3 (in SWIFT_FOLDER, its virtual environment)"
    other_ports: ClassVar[int] = 4

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.access_key = "test:tester"

    @classmethod
    def _program(cls, name: str) -> str | None:
        own = os.environ.get("SWIFT_FOLDER")
        return shutil.which(name, path=None if own is None else f"{own}/bin")

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("memcached") is not None and cls._program("swift-proxy-server") is not None

    def start(self) -> None:
        if not (self.folder / "swift.conf").exists():
            self._configure()
        memory, *ports = self.ports
        user = ("-u", "nobody") if os.geteuid() == 0 else ()
        self._spawn("memcached", "memcached", "-l", "127.0.0.1", "-p", str(memory), "-U", "0", *user)
        for kind in (*_KINDS, "proxy"):
            self._spawn(kind, self._of_swift(f"swift-{kind}-server"), self.folder / f"{kind}-server.conf")
        for port in (*ports, self.port):
            self._await("a server of Swift", lambda port=port: self._listens(port))
        make_s3_bucket(self)

    def _configure(self) -> None:
        (self.folder / "swift.conf").write_text(_CLUSTER.format(secret=self.secret_key))
        memory, *ports = self.ports
        for kind, port in zip(_KINDS, ports, strict=True):
            self._write(kind, port, _SERVER.format(kind=kind))
            self._make_ring(kind, port)
        proxy = _PROXY.format(memory=memory, region=REGION, secret=self.secret_key)
        self._write("proxy", self.port, proxy)

    def _write(self, kind: str, port: int, text: str) -> None:
        common = _COMMON.format(port=port, user=getpass.getuser(), folder=self.folder)
        (self.folder / f"{kind}-server.conf").write_text(common + text)

    def _make_ring(self, kind: str, port: int) -> None:
        builder, ring = self._of_swift("swift-ring-builder"), self.folder / f"{kind}.builder"
        self._must(builder, ring, "create", "6", str(_COPIES), "0")
        for number in range(_COPIES):
            (self.folder / "data" / f"d{number}").mkdir(parents=True, exist_ok=True)
            self._must(builder, ring, "add", f"r1z{number}-127.0.0.1:{port}/d{number}", "1")
        self._must(builder, ring, "rebalance")

    def _of_swift(self, name: str) -> str:
        program = self._program(name)
        assert program is not None, name
        return program
