"""
Reads from a User-Agent which kind of client downloads: by short lists, whatever the field says.

Nothing here raises, and a field that changes with each request costs no memory.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted_index.statistics.rows import ANY_CLIENT, MIRROR, OTHER, Client
from twisted_index.web.requests.user_agent import interpreter_of

if TYPE_CHECKING:
    from twisted_index.simple.interpreters import Interpreter

#: Bytes of a field that is read, and fields that are remembered; pip and uv send some 400.
_LONGEST, _MOST = 1024, 256

_PRODUCT = re.compile(rb"([A-Za-z][A-Za-z0-9._-]*)(?:[/ ]|$)")
_INSTALLERS = {name.encode(): name for name in ("pip", "uv", "poetry", "pdm", "pipenv")}
_BROWSER = "browser"
#: Other servers and mirrors, also this one: what takes files for others.
_MIRRORS = (b"bandersnatch", b"twisted-index", b"devpi-server", b"artifactory", b"nexus", b"pulpcore")
_PYTHONS = frozenset({"2.7", *(f"3.{minor}" for minor in range(31))})
_SYSTEMS = {"linux": "Linux", "macos": "Darwin", "windows": "Windows"}
#: What browsers name; a telephone's Linux first names itself.
_BROWSER_SYSTEMS = ((b"Windows", "Windows"), (b"Macintosh", "Darwin"), (b"Linux", "Linux"))
_CI = re.compile(rb'"ci": ?true\b')


def client_of(user_agent: bytes | None) -> Client:
    """
    Return the kind of a client.

    Args:
        user_agent: The field; None without one.
    """
    if user_agent is None or len(user_agent) > _LONGEST:
        return ANY_CLIENT
    return _read(user_agent)


@lru_cache(_MOST)
def _read(user_agent: bytes) -> Client:
    match = _PRODUCT.match(user_agent)
    product = b"" if match is None else match[1].lower()
    if product == b"mozilla":
        systems = (system for word, system in _BROWSER_SYSTEMS if word in user_agent)
        return Client(_BROWSER, OTHER, next(systems, OTHER))
    if product in _MIRRORS:
        return Client(MIRROR)
    installer, interpreter = _INSTALLERS.get(product, OTHER), interpreter_of(user_agent)
    if interpreter is None:
        return Client(installer)
    ci = "yes" if _CI.search(user_agent) else "no"
    return Client(installer, _python(interpreter), _SYSTEMS.get(interpreter.system, OTHER), ci)


def _python(interpreter: Interpreter) -> str:
    python = ".".join(map(str, interpreter.version[:2]))
    return python if python in _PYTHONS else OTHER
