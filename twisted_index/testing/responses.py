"""Takes answers apart that came as bytes, with nothing of the server's own code."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, slots=True)
class HeaderFields(Mapping[str, str]):
    """
    Header fields, looked up in any spelling of their names.

    Several of one name are joined by commas (RFC 9110 section 5.3); `lines` has them as they came.

    Attributes:
        lines: Names and values in the order and the spelling of the wire.
    """

    lines: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        values = [value for other, value in self.lines if other.lower() == name.lower()]
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _value in self.lines))

    def __len__(self) -> int:
        return len({name.lower() for name, _value in self.lines})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedResponse:
    """
    An answer.

    Attributes:
        status: The status code.
        headers: The header fields.
        body: Without the chunks that it may have come in; a content coding is left on it.
    """

    status: int
    headers: HeaderFields
    body: bytes

    @property
    def text(self) -> str:
        """The body, read as UTF-8."""
        return self.body.decode("utf-8")

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


class IncompleteResponse(AssertionError):
    """No answer has come, or not to its end."""


class _Readable(io.BytesIO):
    """Bytes that `http.client` takes for a socket, for one answer after the other."""

    def makefile(self, *_: object) -> _Readable:
        return self

    def close(self) -> None:
        """Stay open: the next answer begins where this one ends."""


def read_responses(received: bytes, methods: tuple[str, ...] = ()) -> list[ReceivedResponse]:
    """
    Take apart answers that came one after the other.

    Args:
        received: All that came.
        methods: Of the requests: an answer to HEAD has no body, whatever it says. Further ones
            count as GET.

    Raises:
        NoReply: The last one has not come to its end, or this is not HTTP.
    """
    stream = _Readable(received)
    replies: list[ReceivedResponse] = []
    while stream.tell() < len(received):
        method = methods[len(replies)] if len(replies) < len(methods) else "GET"
        # It asks a socket for nothing but makefile().
        response = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
        try:
            response.begin()
            body = response.read()
        except http.client.HTTPException as error:
            raise IncompleteResponse(
                f"Response {len(replies) + 1} is incomplete ({error!r}): {received!r}"
            ) from error
        replies.append(
            ReceivedResponse(
                status=response.status, headers=HeaderFields(tuple(response.getheaders())), body=body
            )
        )
    return replies
