"""
A local server that speaks GitHub's releases API, or Forgejo's.

    python -m tests.kit.github_server --repository octo/wheels --token secret --private --storage FILE…

In a test:

    server = GitHubServer()
    repo = server.repository("octo/wheels", private=True)
    server.token("secret", read=("octo/wheels",))
    repo.release("v1.0", {"demo-1.0-py3-none-any.whl": content})
    server.word(repo)                     # "github+http://127.0.0.1:PORT:octo/wheels"
    server.rule("GET .*/releases", first=2, status=502)
    [request.line for request in server.requests if request.at == "api"]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import ssl
import threading
import traceback
from typing import Any

from tests.kit.github.api import API, Visit
from tests.kit.github.forgejo import ForgejoAPI
from tests.kit.github.limits import Limits
from tests.kit.github.model import Forge, Repo
from tests.kit.github.rules import Rule
from tests.kit.github.storage import Storage
from tests.kit.github.views import ForgejoViews, GitHubViews
from tests.kit.github.web import Web
from tests.kit.github.wire import Answer, Listener, Request


class GitHubServer:
    """
    API, pages for people, uploads and storage, each at a port of 127.0.0.1, in threads of this process.

    What a test may set at any time: `api.paging` (`has_links`, `has_last`, `largest`), `api.has_etags`,
    `api.redirects`, `views.inline_limit`, `views.has_digests`, `limits.of(token)` (`limit`, `used`,
    `reset`), `storage.seconds`, `storage.has_ranges`, and rules. Repositories, releases and assets are
    objects that may be changed at any time: by a test, or by a rule's `before`.

    Args:
        forgejo: Speak Forgejo's API: at one port, below /api/v1, without storage and uploads apart.
        prefix: Path of the API: "" as api.github.com, "/api/v3" as GitHub Enterprise (where pages for
            people are at the same origin, and uploads below /api/uploads).
        uploads_apart: Whether uploads go to another port, as uploads.github.com.
        port: Of the API; 0: any that is free.
        tls: For the API's port, for clients that speak https only.
    """

    def __init__(
        self,
        *,
        forgejo: bool = False,
        prefix: str | None = None,
        uploads_apart: bool = False,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.is_forgejo = forgejo
        self.prefix = prefix if prefix is not None else "/api/v1" if forgejo else ""
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.errors: list[str] = []  # mistakes of this server; a test's end should find none
        self.forge, self.limits = Forge(keeps_names=forgejo), Limits()
        self.storage = Storage(self.forge)
        self.web = Web(self.forge, self.storage, takes_tokens=forgejo)
        self._lock = threading.RLock()
        self._listeners = [self._listen("api", port, tls), self._listen("storage")]
        self.origin, self.storage.origin = (listener.origin for listener in self._listeners)
        self.port = self._listeners[0].port
        web, uploads = self.origin, self.url
        if self.prefix == "" and not forgejo:
            web = self._listen_too("web", tls)
        elif not forgejo:
            uploads = f"{self.origin}/api/uploads"
        if uploads_apart:
            uploads = self._listen_too("uploads", tls)
        self.views = (ForgejoViews if forgejo else GitHubViews)(self.url, web, uploads)
        self.web_origin = web
        self.api = (ForgejoAPI if forgejo else API)(
            self.forge, self.views, self.storage, self.limits, self.prefix
        )
        self.repository, self.token = self.forge.repository, self.forge.token

    @property
    def url(self) -> str:
        """URL of the API, without a slash at its end."""
        return f"{self.origin}{self.prefix}"

    @property
    def origins(self) -> set[str]:
        return {listener.origin for listener in self._listeners}

    def word(self, repo: Repo | str) -> str:
        """Spell a repository as an upstream."""
        name = repo if isinstance(repo, str) else repo.full_name
        return f"{'forgejo' if self.is_forgejo else 'github'}+{self.url}:{name}"

    def rule(self, pattern: str, **changes: Any) -> Rule:
        """Change the answers to some requests; see `Rule`."""
        self.rules.append(Rule(pattern, **changes))
        return self.rules[-1]

    def asked(self, at: str | None = "api") -> list[str]:
        """Give "METHOD /target" of all requests, at one listener or (None) at all."""
        return [request.line for request in list(self.requests) if at in (None, request.at)]

    def leaks(self, secret: str) -> list[Request]:
        """Give the requests that carry a secret elsewhere than in a field for the API or for uploads."""
        return [
            request
            for request in list(self.requests)
            if secret in f"{request.target}\n{request.body!r}"
            or (request.at in ("storage", "web") and secret in str(request.headers))
        ]

    def forget(self) -> None:
        """Forget all requests and rules."""
        self.requests.clear()
        self.rules.clear()

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def __enter__(self) -> GitHubServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, name: str, port: int = 0, tls: ssl.SSLContext | None = None) -> Listener:
        return Listener(name, self._answer, self.requests.append, port=port, tls=tls)

    def _listen_too(self, name: str, tls: ssl.SSLContext | None) -> str:
        self._listeners.append(self._listen(name, 0, tls))
        return self._listeners[-1].origin

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            rules = [rule for rule in self.rules if rule.applies(request)]
        try:
            for rule in rules:
                rule.begin()
            with self._lock:
                answer = self._decided(request, rules)
            for rule in rules:
                rule.change(answer)
        except Exception:
            self.errors.append(traceback.format_exc())
            raise
        return answer

    def _decided(self, request: Request, rules: list[Rule]) -> Answer:
        for rule in rules:
            if rule.starter:
                self.api.start_upload(self._at_api(request))
            if (instead := rule.instead) is not None:
                return instead
        if request.at == "storage":
            return self.storage.answer(request)
        if "/releases/download/" in request.path:
            return self.web.answer(Visit(self.api, request))
        return self.api.answer(self._at_api(request))

    def _at_api(self, request: Request) -> Request:
        """Give an upload the path that it has below the API's."""
        if request.path.startswith("/api/uploads/"):
            target = request.target.removeprefix("/api/uploads")
        elif request.at == "uploads":
            target = request.target
        else:
            return request
        return dataclasses.replace(request, target=f"{self.prefix}{target}")


def main() -> None:
    """Serve one repository until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.github_server", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help="assets of the first release, v1.0")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--repository", default="octo/wheels", metavar="OWNER/REPO")
    parser.add_argument("--token", help="may read and write; without: the repository is public")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--forgejo", action="store_true")
    parser.add_argument("--prefix", help='path of the API, as "/api/v3"')
    parser.add_argument("--storage", action="store_true", help="redirect downloads to another origin")
    options = parser.parse_args()
    server = GitHubServer(forgejo=options.forgejo, prefix=options.prefix, port=options.port)
    server.api.redirects = options.storage
    repo = server.repository(options.repository, private=options.private)
    if options.token:
        server.token(options.token, write=(options.repository,))
    if options.files:
        release = repo.release("v1.0")
        for path in options.files:
            with open(path, "rb") as stream:
                release.add(os.path.basename(path), stream.read())
    print(server.word(repo), server.storage.origin, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
