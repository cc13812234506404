"""Parses responses from bytes, independently of the server's code."""

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
    Header fields, by case-insensitive names.

    Repeated fields are joined by commas (RFC 9110 section 5.3); `lines` has them as received.

    Attributes:
        lines: Names and values as received, in their order.
    """

    lines: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        values = [value for field, value in self.lines if field.lower() == name.lower()]
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
    A received response.

    Attributes:
        status: The status code.
        headers: The header fields.
        body: Without chunked transfer coding; a content coding is not decoded.
    """

    status: int
    headers: HeaderFields
    body: bytes

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode("utf-8")

    def json(self) -> Any:
        """Parse the body as JSON."""
        return json.loads(self.body)


class IncompleteResponse(AssertionError):
    """No response, or an incomplete one, was received."""


class _FakeSocket(io.BytesIO):
    """A stand-in for a socket in `http.client`, for consecutive responses."""

    def makefile(self, *_: object) -> _FakeSocket:
        return self

    def close(self) -> None:
        """Stay open: the next response begins where this one ends."""


def read_responses(received: bytes, methods: tuple[str, ...] = ()) -> list[ReceivedResponse]:
    """
    Parse consecutive responses.

    Args:
        received: All received bytes.
        methods: The methods of the requests: a response to HEAD has no body, whatever its fields. Further
            requests count as GET.

    Raises:
        IncompleteResponse: The last response is incomplete, or the bytes are not HTTP.
    """
    stream = _FakeSocket(received)
    responses: list[ReceivedResponse] = []
    while stream.tell() < len(received):
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        # HTTPResponse calls only makefile() of a socket.
        response = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
        try:
            response.begin()
            body = response.read()
        except http.client.HTTPException as error:
            raise IncompleteResponse(
                f"Response {len(responses) + 1} is incomplete ({error!r}): {received!r}"
            ) from error
        responses.append(
            ReceivedResponse(
                status=response.status, headers=HeaderFields(tuple(response.getheaders())), body=body
            )
        )
    return responses
