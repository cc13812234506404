"""A server of ours in front of a forge's releases, and what a client gets from it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.kit.configured_server import ConfiguredServer
from tests.kit.live_server import JSON

#: Every request sees what the releases are now.
NO_CACHE_TIME = 'cache-ttl = "0s"\n'


class ReleasedIndex(ConfiguredServer):
    """The names `demo*` from one repository; the cache is below the folder."""

    def __init__(self, folder: Path, word: str) -> None:
        super().__init__(folder, state=str(folder / "state"))
        self.word = word

    def begin(self, more: str = NO_CACHE_TIME) -> None:
        self.start(f'upstream = "{self.word}"\nupstream-only = "demo*"\n{more}')

    def restart(self, more: str = NO_CACHE_TIME) -> None:
        self.stop()
        self._background = None
        self.begin(more)

    def get(
        self, path: str, headers: Mapping[str, str] = {"Accept": JSON}
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        self._connection.request("GET", path, headers=dict(headers))
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def page(self, project: str = "demo") -> dict[str, Any]:
        """The page of a project in JSON, which has to be there."""
        status, _headers, body = self.get(f"/simple/{project}/")
        assert status == 200, body
        return dict(json.loads(body))

    def files(self, project: str = "demo") -> dict[str, dict[str, Any]]:
        """The files of a page by name."""
        return {file["filename"]: file for file in self.page(project)["files"]}

    def content(self, filename: str, project: str = "demo") -> bytes:
        """The bytes of a file, which have to come."""
        status, _headers, body = self.get(f"/simple/{project}/{filename}", {})
        assert status == 200, body
        return body

    def refusal(self, path: str) -> tuple[int, str]:
        """The status and the sentence of an error."""
        status, _headers, body = self.get(path, {"Accept": "text/plain"})
        return status, body.decode().strip()

    def problems(self) -> str:
        """The page of what is left out."""
        return self.get("/-/problems", {"Accept": "application/json"})[2].decode()
