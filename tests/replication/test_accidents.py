"""Three servers behind HAProxy, as docs/replication.md says, to which something happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.replication.network import why_not

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 600

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed here")


def test_haproxy_accepts_the_file(tmp_path: Path):
    written = (ROOT / "docs" / "haproxy-replicas.cfg").read_text(encoding="utf-8")
    pair = trustme.CA().issue_cert("index.test").private_key_and_cert_chain_pem
    pair.write_to_path(str(tmp_path / "index.pem"))
    for name in ("index.pem", "ca.pem"):
        written = written.replace(f"/etc/haproxy/{name}", str(tmp_path / "index.pem"))
    (tmp_path / "haproxy.cfg").write_text(written)
    subprocess.run(["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], check=True, timeout=60)


def test_nothing_is_lost_and_no_installation_fails_whatever_happens(tmp_path: Path):
    """The most frequent accidents; `python -m tests.replication.accidents` has all of them."""
    if reason := why_not():
        pytest.skip(reason)
    words = ["--seconds", "3", "--work", str(tmp_path / "work")]
    words += [word for name in ("killed", "link", "planned") for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.replication.accidents", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert re.search(r"^Uploads: [1-9]", done.stdout, re.MULTILINE), done.stdout
