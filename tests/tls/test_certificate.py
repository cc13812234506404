"""The certificate of a listener while its files are renewed, one after the other."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtensionOID, NameOID
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.kit.handshake import shake_hands
from twisted_index.errors import ConfigurationError
from twisted_index.tls.certificate import ServerCertificate
from twisted_index.tls.endpoint_string import TLSFiles

AUTHORITY = trustme.CA()


class Files:
    """The two files of a listener."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "fullchain.pem", folder / "privkey.pem"
        self.files = TLSFiles(certificate=str(self.certificate), key=str(self.key))

    def write_certificate(self, issued: trustme.LeafCert) -> None:
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def write_key(self, issued: trustme.LeafCert) -> None:
        self.key.write_bytes(issued.private_key_pem.bytes())

    def write(self, issued: trustme.LeafCert) -> None:
        self.write_certificate(issued)
        self.write_key(issued)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.write(AUTHORITY.issue_cert("old.test", "127.0.0.1"))
    return made


@pytest.fixture
def logged() -> object:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def texts(logged: list[LogEvent]) -> list[str]:
    found = [event for event in logged if event["log_namespace"].startswith("twisted_index.")]
    return [formatEvent(event) for event in found]


def accepted_by_a_client(context: ssl.SSLContext, name: str = "old.test") -> None:
    """Shake hands with a client that knows the root only."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(client)
    shake_hands(context, client, name)


def test_it_says_its_names_and_its_end(files: Files):
    facts = ServerCertificate(files.files).facts()
    assert facts.names == ("old.test", "127.0.0.1")
    assert facts.not_after > 1_700_000_000


def test_the_same_context_serves_while_the_files_are_the_same(files: Files):
    certificate = ServerCertificate(files.files)
    assert certificate.context() is certificate.context()
    files.certificate.touch()
    assert certificate.context() is certificate.context()


def test_a_renewed_pair_is_used_at_the_next_connection(files: Files):
    certificate = ServerCertificate(files.files)
    before = certificate.context()
    files.write(AUTHORITY.issue_cert("new.test"))
    assert certificate.context() is not before
    assert certificate.facts().names == ("new.test",)
    assert certificate.status.warning is None


@pytest.mark.parametrize("order", ["certificate first", "key first"])
def test_half_a_pair_leaves_the_one_before_in_force(files: Files, order: str, logged: list[LogEvent]):
    certificate = ServerCertificate(files.files)
    before = certificate.context()
    renewed = AUTHORITY.issue_cert("new.test")
    halves = [files.write_certificate, files.write_key]
    for number, write in enumerate(halves if order == "certificate first" else reversed(halves)):
        write(renewed)
        if number == 0:
            assert certificate.context() is before
            assert (
                certificate.status.warning
                == "The TLS certificate has a mistake or cannot be read; see the list of problems."
            )
            assert "does not belong to" in texts(logged)[-1]
            assert "The previous certificate stays in use; it is valid until" in texts(logged)[-1]
    assert certificate.context() is not before
    assert certificate.status.warning is None
    assert "was renewed, and is valid until" in texts(logged)[-1]


def test_a_problem_is_logged_once(files: Files, logged: list[LogEvent]):
    certificate = ServerCertificate(files.files)
    certificate.context()
    files.write_key(AUTHORITY.issue_cert("new.test"))
    for _ in range(5):
        certificate.context()
    assert len(texts(logged)) == 1


@pytest.mark.parametrize("damage", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n", "not PEM"])
def test_a_half_written_certificate_leaves_the_one_before_in_force(files: Files, damage: str):
    certificate = ServerCertificate(files.files)
    before = certificate.context()
    whole = files.certificate.read_bytes()
    files.certificate.write_text(damage)
    assert certificate.context() is before
    assert certificate.status.warning is not None
    files.certificate.write_bytes(whole)
    assert certificate.context() is before
    assert certificate.status.warning is None


def test_files_that_are_away_leave_the_certificate_in_force(files: Files):
    certificate = ServerCertificate(files.files)
    before = certificate.context()
    os.rename(files.key, f"{files.key}.old")
    assert certificate.context() is before
    assert certificate.status.warning is not None


def test_an_end_in_the_past_is_a_warning(files: Files):
    certificate = ServerCertificate(files.files, wall=lambda: 1e12)
    certificate.check()
    assert certificate.status.warning == "The TLS certificate has expired."


def test_the_end_is_a_metric(files: Files):
    certificate = ServerCertificate(files.files)
    (metric,) = certificate.collect()
    (sample,) = metric.samples
    assert sample.name == "twisted_index_certificate_not_after_seconds"
    assert sample.labels == {"certificate": str(files.certificate)}
    assert sample.value == certificate.facts().not_after


def message(files: Files) -> str:
    with pytest.raises(ConfigurationError) as caught:
        ServerCertificate(files.files).context()
    return caught.value.message


def test_a_file_that_is_not_there_is_named(files: Files):
    files.key.unlink()
    assert message(files) == f"{files.key} cannot be read: No such file or directory."


def test_a_key_with_a_passphrase_is_an_error(files: Files):
    key = load_pem_private_key(files.key.read_bytes(), None)
    protected = BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protected))
    assert message(files) == f"The key in {files.key} is encrypted: remove its passphrase."


def test_the_certificate_of_the_server_has_to_be_the_first(files: Files):
    chain = b"".join(blob.bytes() for blob in AUTHORITY.issue_cert("other.test").cert_chain_pems)
    files.certificate.write_bytes(chain + files.certificate.read_bytes())
    assert "it has to be the first" in message(files)


def test_a_key_that_is_not_beside_its_certificate_has_to_be_named(files: Files):
    """Without `key=` the key is looked for in the file of the certificate."""
    files.files = TLSFiles(certificate=str(files.certificate), key=str(files.certificate))
    assert message(files).endswith(" or a damaged one: name the file of the key, if it is another.")


def write_own(files: Files, bits: int, *extensions: x509.ExtensionType) -> None:
    """Write a certificate that no authority would issue."""
    key = rsa.generate_private_key(65537, bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own.test")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    own = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=9999))
    for extension in extensions:
        own = own.add_extension(extension, critical=False)
    files.certificate.write_bytes(own.sign(key, SHA256()).public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_a_key_that_openssl_refuses_is_an_error(files: Files):
    write_own(files, 1024)
    assert message(files) == f"{files.certificate} cannot be used: ee key too small."


@pytest.mark.parametrize("names", [b"\x30\x05\x82\x03a\xe9b", b"\x30\x04\xa3\x02\x30\x00"])
def test_damaged_names_leave_the_certificate_before_in_force(files: Files, names: bytes):
    """OpenSSL takes a name that is not ASCII, and one in the format of X.400."""
    certificate = ServerCertificate(files.files)
    before = certificate.context()
    write_own(files, 2048, x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names))
    assert certificate.context() is before
    assert message(files) == f"{files.certificate} has a damaged subjectAltName."


def test_what_is_no_key_is_an_error(files: Files):
    files.key.write_text("nothing")
    assert message(files) == f"{files.key} has no private key in PEM, or a damaged one."


def test_certificate_and_key_may_share_a_file(files: Files):
    files.certificate.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    both = TLSFiles(certificate=str(files.certificate), key=str(files.certificate))
    assert ServerCertificate(both).facts().names == ("old.test", "127.0.0.1")


def test_the_whole_chain_of_the_file_is_sent(tmp_path: Path):
    """A client that knows only the root gets the certificates between."""
    between = AUTHORITY.create_child_ca()
    files = Files(tmp_path)
    files.write(between.issue_cert("old.test"))
    assert len(files.certificate.read_bytes().split(b"-----END CERTIFICATE-----")) == 3
    accepted_by_a_client(ServerCertificate(files.files).context())


def test_a_chain_in_a_file_of_its_own_is_sent(tmp_path: Path):
    """As with `extraCertChain` of Twisted's `ssl:`."""
    between = AUTHORITY.create_child_ca()
    issued = between.issue_cert("old.test")
    leaf, *others = (blob.bytes() for blob in issued.cert_chain_pems)
    paths = [tmp_path / name for name in ("leaf.pem", "key.pem", "chain.pem")]
    for path, content in zip(paths, (leaf, issued.private_key_pem.bytes(), b"".join(others)), strict=True):
        path.write_bytes(content)
    certificate, key, chain = map(str, paths)
    accepted_by_a_client(ServerCertificate(TLSFiles(certificate=certificate, key=key, chain=chain)).context())


def test_an_emptied_chain_leaves_the_certificate_in_force(files: Files, tmp_path: Path):
    """A file that is written in place is empty for a moment."""
    chain = tmp_path / "chain.pem"
    chain.write_bytes(AUTHORITY.cert_pem.bytes())
    own = TLSFiles(certificate=str(files.certificate), key=str(files.key), chain=str(chain))
    certificate = ServerCertificate(own)
    before = certificate.context()
    chain.write_bytes(b"")
    assert certificate.context() is before
    with pytest.raises(ConfigurationError, match=r"chain\.pem has no certificate in PEM\."):
        ServerCertificate(own).context()


@pytest.mark.parametrize("content", [None, "no parameters"])
def test_a_file_of_dhe_parameters_that_cannot_be_used_is_named(
    files: Files, tmp_path: Path, content: str | None
):
    path = tmp_path / "dh.pem"
    if content is not None:
        path.write_text(content)
    own = TLSFiles(certificate=str(files.certificate), key=str(files.key), dh_parameters=str(path))
    with pytest.raises(ConfigurationError) as caught:
        ServerCertificate(own).context()
    assert caught.value.message.startswith(f"{path} cannot be ")


def test_old_versions_of_tls_are_refused(files: Files):
    assert ServerCertificate(files.files).context().minimum_version == ssl.TLSVersion.TLSv1_2
