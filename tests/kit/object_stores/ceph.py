"""Ceph: a real, distributed store, which keeps conditions."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import uuid
from pathlib import Path

from tests.kit.object_stores.store import Store, make_s3_bucket

_CEPH_CONF = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = {bind}
ms bind port max = {bind_end}
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc secure
ms max backoff = .5
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
crash dir = {folder}
keyring = {folder}/keyring
log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon osd nearfull ratio = .97
mon osd backfillfull ratio = .98
mon osd full ratio = .99
mon data avail warn = 1
mon data avail crit = 1
mon clock drift allowed = 5
auth allow insecure global id reclaim = false
paxos propose interval = 0.1
paxos min wait = 0.01
objecter tick interval = .5
[mon]
mon data = {folder}/mon
[mon.a]
mon addr = v2:127.0.0.1:{mon}
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 10737418240
bluestore block db create = false
bluestore cache autotune = false
bluestore cache size = 67108864
osd memory target = 939524096
osd class update on start = false
osd op num shards = 2
osd numa auto affinity = false
osd max scrubs = 0
# A lease of 0.8 of it: an only daemon that gets no CPU for so long would refuse all requests from then on.
osd heartbeat grace = 3600
[client]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{http} tcp_nodelay=1
rgw thread pool size = 64
rgw rados pool pg num min = 4
rgw enable usage log = false
rgw enable ops log = false
rgw enable apis = s3, admin
"""


class Ceph(Store):
    """A Ceph RADOS Gateway: one monitor, one store daemon, one gateway."""

    name = "ceph"
    needs = "apt install ceph-mon ceph-osd radosgw"
    other_ports = 2

    @classmethod
    def is_installed(cls) -> bool:
        return all(map(shutil.which, ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")))

    def start(self) -> None:
        conf = self.folder / "ceph.conf"
        is_new = not conf.exists()
        if is_new:
            self._make_monitor(conf)
        self._spawn("mon", "ceph-mon", "-f", "-c", conf, "-i", "a")
        if is_new:
            identity = str(uuid.uuid4())
            self._must("ceph", "-c", conf, "--connect-timeout", "30", "osd", "new", identity)
            self._must("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", identity)
        self._spawn("osd", "ceph-osd", "-f", "-c", conf, "-i", "0")
        self._await("the store daemon", self._is_active)
        if is_new:
            keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
            user = ("--uid", "tester", "--display-name", "tester")
            self._must("radosgw-admin", "-c", conf, "user", "create", *user, *keys)
        self._spawn("rgw", "radosgw", "-f", "-c", conf, "-n", "client.rgw")
        self._await("the gateway", self._listens)
        make_s3_bucket(self)

    def _make_monitor(self, conf: Path) -> None:
        fsid = str(uuid.uuid4())
        mon, bind = self.ports[0], min(self.ports[1], 65000)
        text = _CEPH_CONF.format(
            fsid=fsid, mon=mon, bind=bind, bind_end=bind + 500, http=self.port, folder=self.folder
        )
        conf.write_text(text)
        (self.folder / "keyring").touch()
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        monmap = self.folder / "monmap"
        self._must("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon}]", monmap)
        self._must("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", monmap)

    def _is_active(self) -> bool:
        """Ask the store daemon itself: the gateway waits for long if it starts before."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(5)
            admin.connect(str(self.folder / "osd.0.asok"))
            admin.sendall(b'{"prefix": "status", "format": "json"}\0')
            received = b""
            while piece := admin.recv(65536):
                received += piece
            return bool(json.loads(received[4:])["state"] == "active")
        return False
