"""
The certificate of a listener, in files that are replaced while the server runs.

The files are looked at for each connection, and a renewed pair is used from the next connection on. While
they are not a pair (half-written, only one of them replaced, unreadable) the pair before stays in force.
"""

from __future__ import annotations

import ssl
import time
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING

from twisted.logger import Logger

from twisted_index.errors import ConfigurationError
from twisted_index.files.reload_status import ReloadStatus
from twisted_index.files.watched_file import WatchedFile
from twisted_index.tls.key_pair import check_pair, describe_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from twisted_index.tls.endpoint_string import TLSFiles
    from twisted_index.tls.key_pair import CertificateFacts

_log = Logger()


class ServerCertificate:
    """
    The certificate of one listener.

    Args:
        files: Where it is.
        wall: Seconds since the epoch.

    Attributes:
        files: Where it is.
        protocols: Names for ALPN (RFC 7301), preferred first; to be set before it is loaded.
        status: Whether the files were a pair when they were read last.
    """

    def __init__(self, files: TLSFiles, *, wall: Callable[[], float] = time.time) -> None:
        self.files = files
        self.protocols: Sequence[bytes] = ()
        self._wall = wall
        paths = (files.certificate, files.key, files.chain)
        self._watched = [WatchedFile(path, bytes) for path in paths if path is not None]
        self._contents: list[bytes] = []
        self._in_force: tuple[ssl.SSLContext, CertificateFacts] | None = None
        self.status = ReloadStatus("TLS certificate", files.certificate, wall=wall)

    def context(self) -> ssl.SSLContext:
        """
        Return the context of the next connection.

        Raises:
            ConfigurationError: The files have never been a usable pair.
        """
        return self._current()[0]

    def facts(self) -> CertificateFacts:
        """Return what the certificate in force says; raises as `context` does."""
        return self._current()[1]

    def has_expired(self) -> bool:
        """Return whether the certificate in force has expired; raises as `context` does."""
        return self.facts().not_after <= self._wall()

    def check(self) -> None:
        """See `files.reload_status.ReloadedFile`."""
        facts = self.facts()
        if self.status.error is None and self.has_expired():
            date = formatdate(facts.not_after, usegmt=True)
            self.status.fail(
                f"{self.files.certificate}: the certificate expired on {date}.",
                "Clients refuse it.",
                "The TLS certificate has expired.",
            )

    def collect(self) -> Iterator[Metric]:
        """Yield when the certificate expires; see `prometheus_client.registry.Collector`."""
        from prometheus_client.core import GaugeMetricFamily

        text = "When the TLS certificate in force expires, in seconds since the epoch."
        gauge = GaugeMetricFamily("twisted_index_certificate_not_after_seconds", text, labels=["certificate"])
        gauge.add_metric([self.files.certificate], self.facts().not_after)
        yield gauge

    def _current(self) -> tuple[ssl.SSLContext, CertificateFacts]:
        if self._in_force is None or any(file.changed() for file in self._watched):
            self._reload()
        assert self._in_force is not None
        return self._in_force

    def _reload(self) -> None:
        try:
            contents = [_read(file) for file in self._watched]
            # Files are read again for a while after a change; see `WatchedFile`.
            if contents != self._contents:
                renews = self._in_force is not None
                context = self._load(contents)
                self._in_force = context, describe_certificate(self.files.certificate, contents[0])
                self._contents = contents
                if renews:
                    self._report_renewal()
        except ConfigurationError as error:
            if self._in_force is None:
                raise
            end = formatdate(self._in_force[1].not_after, usegmt=True)
            effect = f"The previous certificate stays in use; it is valid until {end}."
            self.status.fail(error.message, effect)
        else:
            self.status.succeed()

    def _load(self, contents: list[bytes]) -> ssl.SSLContext:
        files = self.files
        check_pair(files.certificate, contents[0], files.key, contents[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols([name.decode("ascii") for name in self.protocols])
        if files.dh_parameters is not None:
            with _named_in_errors(files.dh_parameters):
                context.load_dh_params(files.dh_parameters)
        if files.chain is not None:
            with _named_in_errors(files.chain):
                # OpenSSL completes the chain of a single certificate from these.
                context.load_verify_locations(cadata=contents[2].decode("ascii", "replace"))
        with _named_in_errors(files.certificate):
            # A passphrase, though a wrong one: else OpenSSL would ask for it on the terminal.
            context.load_cert_chain(files.certificate, files.key, password="")
        return context

    def _report_renewal(self) -> None:
        _log.info(
            "{certificate} was renewed, and is valid until {date}.",
            certificate=self.files.certificate,
            date=formatdate(self.facts().not_after, usegmt=True),
        )


@contextmanager
def _named_in_errors(path: str) -> Iterator[None]:
    """Turn what OpenSSL raises for a file into a sentence."""
    try:
        yield
    except ssl.SSLError as error:
        reason = (error.reason or "damaged").replace("_", " ").lower()
        raise ConfigurationError(f"{path} cannot be used: {reason}.") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # an empty file
        raise ConfigurationError(f"{path} has no certificate in PEM.") from error


def _read(file: WatchedFile[bytes]) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise ConfigurationError(f"{file.path} cannot be read: {error.strerror}.") from error
