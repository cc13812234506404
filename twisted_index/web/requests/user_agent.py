"""
Reads from a User-Agent which Python an installer installs for.

pip and uv send a JSON document after their name and version, poetry, pdm and pips before version 6 a few
words. Nothing here raises, and no more than a few hundred bytes of any field are parsed.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from twisted_index.simple.interpreters import Interpreter

#: Bytes of a field that is read; pip and uv send some 400.
_LONGEST = 1024
#: Brackets in it; pip and uv send up to 12. More could only be nested to exhaust the parser.
_MOST_BRACKETS = 32

_INSTALLER = re.compile(r"(?:pip|uv|poetry|pdm)/\d\S* (?P<rest>.+)")
_WORDS = re.compile(r"(?P<implementation>\w+)/(?P<version>\S+) (?P<system>\w+)/.*")
_VERSION = re.compile(r"(\d{1,2})\.(\d{1,3})(?:\.(\d{1,3}))?(?!\d)")
_WORD = re.compile(r"[A-Za-z0-9_]{1,20}")

_IMPLEMENTATIONS = {"cpython": "cp", "pypy": "pp"}
_SYSTEMS = {"linux": "linux", "darwin": "macos", "windows": "windows"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "x86": "i686", "i386": "i686", "i586": "i686"}
_LIBCS = ("glibc", "musl")


def interpreter_of(user_agent: bytes | None) -> Interpreter | None:
    """
    Return the interpreter of an installer.

    Args:
        user_agent: The field; None without one.

    Returns:
        The same object for the same recent field; None for clients that are not installers.
    """
    if user_agent is None or len(user_agent) > _LONGEST:
        return None
    return _read(user_agent)


@lru_cache(256)
def _read(user_agent: bytes) -> Interpreter | None:
    match = _INSTALLER.fullmatch(user_agent.decode("latin-1"))
    if match is None:
        return None
    rest = match["rest"]
    return _of_document(_load(rest)) if rest.startswith("{") else _of_words(rest)


def _load(text: str) -> Any:
    if text.count("{") + text.count("[") > _MOST_BRACKETS:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _of_document(document: Any) -> Interpreter:
    system = _SYSTEMS.get(_text(document, "system", "name").lower(), "")
    libc = _text(document, "distro", "libc", "lib")
    return _interpreter(
        _text(document, "implementation", "name"),
        _text(document, "python"),
        system,
        system_version=_numbers(_text(document, "distro", "version")) if system == "macos" else (),
        machine=_text(document, "cpu").lower(),
        libc=libc if libc in _LIBCS else "",
        libc_version=_numbers(_text(document, "distro", "libc", "version")) if libc in _LIBCS else (),
    )


def _of_words(text: str) -> Interpreter:
    match = _WORDS.fullmatch(text)
    if match is None:
        return Interpreter()
    return _interpreter(match["implementation"], match["version"], _SYSTEMS.get(match["system"].lower(), ""))


def _interpreter(
    implementation: str, version: str, system: str, *, machine: str = "", **more: Any
) -> Interpreter:
    if _WORD.fullmatch(machine) is None:
        machine = ""
    elif not (system == "macos" and machine == "arm64"):
        machine = _MACHINES.get(machine, machine)
    match = _VERSION.match(version)
    return Interpreter(
        implementation=_IMPLEMENTATIONS.get(implementation.lower(), ""),
        version=() if match is None else tuple(int(number) for number in match.groups() if number),
        system=system,
        machine=machine,
        **more,
    )


def _text(document: Any, *path: str) -> str:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""


def _numbers(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version; empty unless there are two."""
    match = _VERSION.match(text)
    return () if match is None else (int(match[1]), int(match[2]))
