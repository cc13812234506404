"""The limit of open files, and the number of connections that it allows."""

from __future__ import annotations

from twisted_index.files.portability import optional_module

#: Windows lacks it: a process has no such limit there.
_resource = optional_module("resource")

#: Descriptors that are not for clients: logs, the inspection cache, listeners, files that are being read.
_RESERVED = 48
#: Descriptors: a connection and the file that it sends.
_PER_CONNECTION = 2
#: Beyond this many, memory is the limit.
_MAX_CONNECTIONS = 10_000
_WITHOUT_LIMIT = 4_000


def raise_nofile_limit() -> None:
    """Raise the soft limit of open files to the hard one, as any process may."""
    if _resource is None:
        return
    soft, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            _resource.setrlimit(_resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            # Some systems report "unlimited" and allow less; then the old limit stays.
            return


def connections_for_nofile_limit() -> int:
    """Return the number of connections that the limit of open files allows, each sending a file."""
    if _resource is None:
        return _WITHOUT_LIMIT
    soft, _hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
    if soft == _resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    available: int = (soft - _RESERVED) // _PER_CONNECTION
    return max(8, min(_MAX_CONNECTIONS, available))
