"""What docs/operating.md and the files beside it say is so."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import ssl
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from twisted.internet.task import Clock

from tests.kit.handshake import shake_hands
from twisted_index.backends.folder.source import FolderSource
from twisted_index.backends.upstream.client import HTTPUpstream
from twisted_index.backends.upstream.source import UpstreamSource
from twisted_index.config.layers import load
from twisted_index.events.webhooks import FileUploaded
from twisted_index.metrics.counters import Counters, Outcome
from twisted_index.metrics.exposition import Exposition
from twisted_index.metrics.free_space import FreeSpace
from twisted_index.tap import Options
from twisted_index.testing import SynchronousRunner
from twisted_index.tls.certificate import ServerCertificate
from twisted_index.tls.endpoint_string import TLSFiles, parse_tls_endpoint

DOCS = Path(__file__).resolve().parent.parent / "docs"
GUIDE = DOCS / "operating.md"


def _openssl() -> str:
    """Give the version of the command, or nothing."""
    found = shutil.which("openssl")
    return subprocess.check_output([found, "version"], text=True, timeout=60) if found else ""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def told(tmp_path: Path) -> set[str]:
    """Give the names of all metrics of a server with a folder, an upstream and a certificate."""
    both = tmp_path / "both.pem"
    trustme.CA().issue_cert("index.test").private_key_and_cert_chain_pem.write_to_path(both)
    certificate = ServerCertificate(TLSFiles(certificate=str(both), key=str(both)))
    worker = SynchronousRunner()
    upstream = UpstreamSource([], reactor=Clock(), worker=worker)
    remote = HTTPUpstream("https://index.example/", Clock(), worker=worker, environ={}, instance="a")
    collectors = [FolderSource(), upstream.counters, remote, certificate, FreeSpace([], Clock())]
    exposition = Exposition(Counters(), collectors)
    _type, page = exposition.write("", connections=0, projects=0, files=[certificate.status])
    return set(re.findall(r"^# TYPE (\w+)", page.decode(), re.MULTILINE))


def test_every_metric_is_described_and_every_described_one_is_told(told: set[str]):
    described = re.findall(r"^\| `(twisted_index_\w+)`", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(name for name in told if name.startswith("twisted_index_"))


def test_rules_ask_for_nothing_that_is_not_told(told: set[str]):
    _scrape, rules = blocks("yaml")
    names = re.findall(r"\b(?:twisted_index|process)_[a-z_]+", rules)
    asked = {name.removesuffix("_bucket") for name in names}
    assert asked
    if Path("/proc/self/stat").exists():
        assert asked <= told


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_the_rules(tmp_path: Path):
    _scrape, rules = blocks("yaml")
    (tmp_path / "rules.yml").write_text(rules, encoding="utf-8")
    subprocess.run(["promtool", "check", "rules", str(tmp_path / "rules.yml")], check=True, timeout=60)


def test_every_outcome_of_an_upload_is_described():
    (row,) = [
        line
        for line in GUIDE.read_text(encoding="utf-8").splitlines()
        if "twisted_index_uploads_total" in line and line.startswith("|")
    ]
    assert all(f"`{outcome.value}`" in row for outcome in Outcome)


def test_the_document_of_an_upload_is_as_described():
    (described,) = blocks("json")
    sent = FileUploaded(
        project="demo",
        filename="demo-1.0-py3-none-any.whl",
        version="1.0",
        sha256="…",
        size=12345,
        by="alice",
        time=datetime(2026, 3, 1, 12, 0, 0, 500000, UTC),
    )
    assert json.loads(described) == json.loads(sent.as_json())


def test_the_configuration_file_can_be_loaded(tmp_path: Path):
    written, _users, _several = blocks("toml")
    assert tomllib.loads(written)
    path = tmp_path / "twisted-index.toml"
    path.write_text(written, encoding="utf-8")
    settings = load({"config": str(path)}, environ={}, folder=str(tmp_path))
    assert settings.uploads.upload
    assert settings.listen == ("systemd:domain=INET6:name=index",)
    # Console commands know the state only from there.
    service = (DOCS / "twisted-index.service").read_text(encoding="utf-8")
    (folder,) = re.findall(r"^StateDirectory=(.*)$", service, re.MULTILINE)
    assert settings.state == f"/var/lib/{folder}"


def test_the_fields_of_a_proxy_can_be_loaded(tmp_path: Path):
    path = tmp_path / "twisted-index.toml"
    path.write_text(blocks("toml")[1], encoding="utf-8")
    access = load({"config": str(path)}, environ={}, folder=str(tmp_path)).access
    assert (access.user_header, access.groups_header) == ("Remote-User", "Remote-Groups")


def test_the_endpoints_of_https_can_be_read():
    shown = re.findall(r"\b(?:https|ssl):(?:\d|domain)[^\s`]*", GUIDE.read_text(encoding="utf-8"))
    assert len(shown) > 4
    assert [one for one in shown if "…" not in one and parse_tls_endpoint(one) is None] == []


@pytest.mark.skipif(not re.match(r"OpenSSL [3-9]\.", _openssl()), reason="OpenSSL 3 is not installed")
def test_the_commands_for_openssl_make_a_certificate_that_clients_accept(tmp_path: Path):
    """Python 3.13 and later check every rule of RFC 5280, so pip does."""
    (commands,) = (block for block in blocks("console") if "openssl req" in block)
    for command in re.split(r"^\$ ", commands, flags=re.MULTILINE)[1:]:
        words = shlex.split(command.replace("\\\n", " "))
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    made = TLSFiles(certificate=str(tmp_path / "fullchain.pem"), key=str(tmp_path / "privkey.pem"))
    certificate = ServerCertificate(made)
    assert certificate.facts().names == ("index.lan", "192.168.1.5")

    client = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in certificate.facts().names:
        shake_hands(certificate.context(), client, name)


@pytest.mark.parametrize("name", ["twisted-index.service", "Containerfile"])
def test_the_server_takes_the_options_that_it_is_started_with(name: str):
    text = (DOCS / name).read_text(encoding="utf-8")
    found = re.findall(r"^(?:ExecStart=|ENTRYPOINT )(.*)$", text, re.MULTILINE)
    assert len(found) == 1
    words = json.loads(found[0]) if found[0].startswith("[") else shlex.split(found[0])
    # The names of files and sockets are the machine's; the options are ours.
    given = [word for word in words[words.index("serve") + 1 :] if word.startswith("--")]
    known = {option.rstrip("=") for option in Options().longOpt}
    assert {word.removeprefix("--") for word in given} <= known


def test_the_service_listens_by_the_name_that_the_socket_has():
    service = (DOCS / "twisted-index.service").read_text(encoding="utf-8")
    socket = (DOCS / "twisted-index.socket").read_text(encoding="utf-8")
    (name,) = re.findall(r"^FileDescriptorName=(.*)$", socket, re.MULTILINE)
    assert f"systemd:domain=INET6:name={name}" in service


def test_the_guide_names_only_files_that_are_there():
    links = re.findall(r"\]\(([^)#:]+)\)", GUIDE.read_text(encoding="utf-8"))
    assert links
    assert all((DOCS / link).is_file() for link in links)
