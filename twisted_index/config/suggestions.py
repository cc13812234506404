"""What an unknown name may mean: a misspelt setting, or the word of another server. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_ADDRESS = "listen ADDRESS:PORT"
_TLS = "listen https:8443:certificate=FILE:key=FILE"

#: What pypiserver, devpi-server, http.server, uvicorn and twistd call it, and what it is here: a setting with
#: the form of its value.
_OTHER_WORDS = {
    **dict.fromkeys(("address", "bind", "host", "interface", "port", "H", "b", "i"), _ADDRESS),
    **dict.fromkeys(("cert", "certfile", "ssl-certfile", "tls-cert"), _TLS),
    **dict.fromkeys(("unix-socket", "uds"), "listen unix:FILE"),
    **dict.fromkeys(("directory", "dir", "folder", "packages", "root", "d"), "path DIR"),
    **dict.fromkeys(("htpasswd", "passwords", "password-file", "users", "P"), "auth htpasswd:FILE"),
    **dict.fromkeys(("accesslog", "log", "log-file", "logfile", "l"), "access-log FILE"),
    **dict.fromkeys(("fallback-url", "index", "index-url", "mirror-url", "proxy-url"), "upstream URL"),
    **dict.fromkeys(("base-url", "outside-url", "server-base-url"), "public-url URL"),
    **dict.fromkeys(("data", "data-dir", "serverdir"), "state DIR"),
    **dict.fromkeys(("allow-overwrite", "volatile", "o"), "overwrite PATTERN"),
    "authenticate": "rights FILE",
    "cache-dir": "cache DIR",
    "max-request-body-size": "max-upload SIZE",
    "offline-mode": "offline",
}


def suggested_name(unknown: str, known: Collection[str], spell: Callable[[str], str] = str) -> str | None:
    """
    Return the known name that an unknown one may mean.

    Args:
        unknown: The name, spelled as the known ones.
        known: All names that are understood in its place.
        spell: Spells a setting as it is spelled there, such as its environment variable.

    Returns:
        None if nothing is similar.
    """
    suggestion = _suggestion(unknown, known, spell)
    return suggestion and suggestion[0]


def suggested_option(unknown: str, known: Collection[str]) -> str | None:
    """
    Return the option that an unknown one may mean, with the form of its value where that is known.

    Args:
        unknown: The option, without hyphens in front.
        known: All options, without hyphens in front.

    Returns:
        None if nothing is similar.
    """
    suggestion = _suggestion(unknown, known, str)
    return suggestion and f"--{suggestion[0]}{suggestion[1]}"


def _suggestion(unknown: str, known: Collection[str], spell: Callable[[str], str]) -> tuple[str, str] | None:
    """Return a known name, and the form of its value with a blank before it."""
    # Imported here, as it is rarely needed.
    import difflib

    meanings = {name: (name, "") for name in known}
    for word, meaning in _OTHER_WORDS.items():
        name, blank, value = meaning.partition(" ")
        if spell(name) in known:
            meanings.setdefault(spell(word), (spell(name), blank + value))
    similar = difflib.get_close_matches(unknown, meanings, n=1)
    return meanings[similar[0]] if similar else None
