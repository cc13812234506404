"""Repositories of a forge, and the words for them: `github:OWNER/REPO`. Pure text, without requests."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from twisted_index.errors import BadGateway
from twisted_index.http_client.urls import InvalidURL, Origin, normalize_url, origin_of

#: The API of GitHub itself.
PUBLIC_API = "https://api.github.com"

_SCHEME = re.compile(r"(github|forgejo)([:+])(.*)", re.IGNORECASE | re.DOTALL)
#: A repository as browsers show it, with what people copy along: a token, `.git`, its pages.
_WEB = re.compile(
    r"(?:https?://)?(?:[^/@\s]*@)?(?:www\.)?github\.com"
    r"(?:[/:]+([^/\s]+)(?:/+([^/\s]+?))?(?:\.git)?(?:/.*)?)?/*"
)
#: The characters of owners and repositories: GitHub's, and the dots and underscores of Forgejo's owners.
_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")

_EXAMPLES = {
    "github": "github:OWNER/REPO, or github+https://HOST/api/v3:OWNER/REPO for another server",
    "forgejo": "forgejo+https://HOST/api/v1:OWNER/REPO",
}


class Forge(enum.Enum):
    """The software of a server, whose APIs differ in details."""

    GITHUB = "github"
    FORGEJO = "forgejo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """
    A repository of a forge.

    Attributes:
        forge: The software of the server.
        api: The API's URL, normalized, without user and trailing slash.
        owner: A user or an organization, as written.
        name: As written.
    """

    forge: Forge
    api: str
    owner: str
    name: str

    @property
    def word(self) -> str:
        """The word for it in settings."""
        server = "" if self.api == PUBLIC_API else f"+{self.api}"
        return f"{self.forge.value}{server}:{self.owner}/{self.name}"

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The origins that get the token: the API's first, then GitHub's own for uploads."""
        own = origin_of(f"{self.api}/")
        name = own.host.removeprefix("api.")
        is_official = name == "github.com" or (name.endswith(".ghe.com") and name.count(".") == 2)
        if own != Origin("https", f"api.{name}", 443) or not is_official:
            return (own,)
        return own, Origin("https", f"uploads.{name}", 443)

    @property
    def url(self) -> str:
        """The API's URL of it."""
        return f"{self.api}/repos/{self.owner}/{self.name}"

    def own_url(self, url: str, base: str | None = None) -> str:
        """
        Normalize a URL that the API has named, at which a request has the token.

        Args:
            url: The URL.
            base: What it is relative to.

        Raises:
            BadGateway: It cannot be requested, or is at another server.
        """
        try:
            clean = normalize_url(url, base=base)
        except InvalidURL as error:
            raise BadGateway(f"The releases API names a URL that cannot be requested: {error}.") from None
        if origin_of(clean) not in self.origins:
            raise BadGateway(
                f"The releases API names a URL at {origin_of(clean)}, which is not {self.origins[0]}: the"
                " token is not sent there."
            )
        return clean


def is_repository(word: str) -> bool:
    """Return whether a word means a repository; `parse_repository` may still refuse it."""
    word = word.strip()
    return _SCHEME.match(word) is not None or _web_name(word) is not None


def parse_repository(word: str) -> Repository:
    """
    Parse the word for a repository.

    Args:
        word: `github:OWNER/REPO`, `github+URL:OWNER/REPO` or `forgejo+URL:OWNER/REPO` with the URL of an
            API; trailing slashes are ignored.

    Raises:
        ValueError: It is no such word. The message shows nothing that may be a secret.
    """
    word = word.strip()
    match = _SCHEME.fullmatch(word)
    if match is None:
        raise ValueError(_web_advice(word) or f"this is not a repository; write {_EXAMPLES['github']}")
    forge, separator, rest = Forge(match[1].lower()), match[2], match[3].rstrip("/")
    if separator == "+":
        api, _, path = rest.rpartition(":")
        return _repository(forge, _parse_api(forge, api, path), path)
    if (advice := _web_advice(rest)) is not None:
        raise ValueError(advice)
    if forge is Forge.FORGEJO:
        raise ValueError(f"the URL of the server's API is missing; write {_EXAMPLES['forgejo']}")
    return _repository(forge, PUBLIC_API, rest)


def _repository(forge: Forge, api: str, path: str) -> Repository:
    owner, slash, name = path.partition("/")
    if not slash or not _NAME.fullmatch(owner) or not _NAME.fullmatch(name):
        raise ValueError(f"this names no repository; write {_EXAMPLES[forge.value]}")
    if name.lower().endswith(".git"):
        raise ValueError(f"a repository has no .git at its end here; write {_EXAMPLES[forge.value]}")
    return Repository(forge=forge, api=api, owner=owner, name=name)


def _parse_api(forge: Forge, api: str, path: str) -> str:
    """Normalize the URL of an API."""
    if "@" in api or "@" in path:
        raise ValueError(
            "the URL of the API has a user or a token; leave that out: tokens come from the environment,"
            " github-token-file or netrc"
        )
    if path.startswith("//"):  # the last colon is that of the scheme
        raise ValueError(f"this names no repository; write {_EXAMPLES[forge.value]}")
    try:
        clean = normalize_url(api)
    except InvalidURL as error:
        raise ValueError(
            f"this is not the URL of an API, as {error}; write {_EXAMPLES[forge.value]}"
        ) from None
    parts = urlsplit(clean)
    if parts.query or "#" in api:
        raise ValueError("the URL of an API has no query or fragment; leave that out")
    if parts.hostname in ("github.com", "www.github.com"):
        raise ValueError("this is not the URL of GitHub's API; write github:OWNER/REPO")
    return clean.rstrip("/")


def _web_name(word: str) -> tuple[str, str] | None:
    """Return owner and name, maybe empty, of a repository's page at GitHub; None for other words."""
    match = _WEB.fullmatch(word.removeprefix("git+").removeprefix("ssh://"))
    return None if match is None else (match[1] or "", match[2] or "")


def _web_advice(word: str) -> str | None:
    """Return what to write in place of the page of a repository; None for other words."""
    names = _web_name(word)
    if names is None:
        return None
    is_shown = all(map(_NAME.fullmatch, names))
    return f"for the releases of a repository, write github:{'/'.join(names) if is_shown else 'OWNER/REPO'}"
