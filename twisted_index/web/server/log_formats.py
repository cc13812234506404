"""
Formats of the access log: one line for each request. Pure.

All text of a client is escaped, so that no request can forge a line or send control characters to a terminal.
The request line and the fields of a client are formatted once for a head that is sent over and over.
The token of a draft is in none of them: those who read a log need not be those who were given the draft.
"""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from typing import Protocol

from twisted_index.indexes.scope import without_tokens

#: Printable ASCII but for what would end a quoted field.
_SAFE = bytes(range(0x20, 0x7F)).translate(None, b'"\\')
_ESCAPES = {byte: f"\\x{byte:02x}" for byte in range(256) if byte not in _SAFE}
_TABLE = {byte: _ESCAPES.get(byte, chr(byte)) for byte in range(256)}

#: The characters of an address, with a zone (RFC 4007).
_ADDRESS = re.compile(r"[0-9A-Za-z:.%-]+", re.ASCII)
#: Clients that are remembered with the form in which they are written.
_MOST_CLIENTS = 1024


class LogFormat(Protocol):
    """Writes lines of the access log."""

    def stamp(self, seconds: float) -> str:
        """Return the time of a line, by the whole second since the epoch."""

    def request(self, method: bytes, target: bytes, version: bytes) -> str:
        """Return the request line."""

    def fields(self, referrer: bytes | None, agent: bytes | None) -> str:
        """Return the Referer and User-Agent fields."""

    def line(
        self,
        client: str | None,
        user: str,
        stamp: str,
        request: str,
        status: int,
        size: int,
        fields: str,
        duration: float,
        aborted: bool,
    ) -> str:
        """
        Return a line with its end.

        Args:
            client: The textual address; may be anything that a PROXY line contains, None for a unix socket.
            user: The authenticated user; "-" for none.
            stamp: From `stamp`.
            request: From `request`.
            status: The status of the response.
            size: Bytes of the body that were sent.
            fields: From `fields`.
            duration: Seconds from the request to the end of the response.
            aborted: Whether the client left before that.
        """


class CombinedFormat:
    """Combined Log Format, then the seconds taken, and `aborted` if the client left early."""

    def stamp(self, seconds: float) -> str:
        """Return the time as the format has it, in UTC."""
        return time.strftime("[%d/%b/%Y:%H:%M:%S +0000]", time.gmtime(seconds))

    def request(self, method: bytes, target: bytes, version: bytes) -> str:
        """Return the request line, quoted."""
        return f'"{escape_field(b" ".join((method, target, version)))}"'

    def fields(self, referrer: bytes | None, agent: bytes | None) -> str:
        """Return both fields, each quoted."""
        return f'"{escape_field(referrer or b"-")}" "{escape_field(agent or b"-")}"'

    def line(
        self,
        client: str | None,
        user: str,
        stamp: str,
        request: str,
        status: int,
        size: int,
        fields: str,
        duration: float,
        aborted: bool,
    ) -> str:
        """Return a line; see `LogFormat`."""
        end = " aborted" if aborted else ""
        who = f"{_host(client)} - {_word(user)}"
        return f"{who} {stamp} {request} {status} {size} {fields} {duration:.6f}{end}\n"


class JSONFormat:
    """
    A JSON object in a line, in ASCII, with the names of nginx's variables.

    A byte that is not UTF-8 is four characters: a backslash, an x and two hexadecimal digits.
    """

    def stamp(self, seconds: float) -> str:
        """Return the time by RFC 3339, in UTC."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    def request(self, method: bytes, target: bytes, version: bytes) -> str:
        """Return method, target and version as members."""
        return (
            f'"request_method":{_string(method)},"request_uri":{_string(target)},'
            f'"server_protocol":{_string(version)}'
        )

    def fields(self, referrer: bytes | None, agent: bytes | None) -> str:
        """Return both fields as members, null for one that is absent."""
        return f'"http_referer":{_string(referrer)},"http_user_agent":{_string(agent)}'

    def line(
        self,
        client: str | None,
        user: str,
        stamp: str,
        request: str,
        status: int,
        size: int,
        fields: str,
        duration: float,
        aborted: bool,
    ) -> str:
        """Return a line; see `LogFormat`."""
        return (
            f'{{"time":"{stamp}","remote_addr":{_json_host(client)},"remote_user":{_json_word(user)},{request},'
            f'"status":{status},"body_bytes_sent":{size},"request_time":{duration:.6f},{fields},'
            f'"aborted":{"true" if aborted else "false"}}}\n'
        )


class TerminalFormat:
    """A short line for people who watch: local time, client, method and target, status."""

    def stamp(self, seconds: float) -> str:
        """Return the local time of the day."""
        return time.strftime("%H:%M:%S", time.localtime(seconds))

    def request(self, method: bytes, target: bytes, version: bytes) -> str:
        """Return method and target."""
        return escape_field(method + b" " + target)

    def fields(self, referrer: bytes | None, agent: bytes | None) -> str:
        """Return nothing."""
        return ""

    def line(
        self,
        client: str | None,
        user: str,
        stamp: str,
        request: str,
        status: int,
        size: int,
        fields: str,
        duration: float,
        aborted: bool,
    ) -> str:
        """Return a line; see `LogFormat`."""
        return f"{stamp} {_host(client)} {request} {status}{' aborted' if aborted else ''}\n"


def escape_field(value: bytes) -> str:
    """Escape a header field for a quoted field of the log."""
    return without_tokens(value.decode("latin-1")).translate(_TABLE)


@lru_cache(_MOST_CLIENTS)
def _host(client: str | None) -> str:
    """Return an address as it is written; a unix socket has none, and a PROXY line may contain anything."""
    return client if isinstance(client, str) and _ADDRESS.fullmatch(client) else "-"


@lru_cache(_MOST_CLIENTS)
def _word(user: str) -> str:
    """Escape a user's name to one word."""
    return escape_field(user.encode("utf-8", "replace")).replace(" ", "\\x20") or "-"


@lru_cache(_MOST_CLIENTS)
def _json_host(client: str | None) -> str:
    return json.dumps(None if _host(client) == "-" else client)


@lru_cache(_MOST_CLIENTS)
def _json_word(user: str) -> str:
    return _string(None if user == "-" else user.encode("utf-8", "replace"))


def _string(value: bytes | None) -> str:
    return json.dumps(None if value is None else without_tokens(value.decode("utf-8", "backslashreplace")))


#: The formats that can be set, by name.
FORMATS: dict[str, LogFormat] = {"combined": CombinedFormat(), "json": JSONFormat()}
