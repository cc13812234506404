"""`--files-url`: the URLs of files that are elsewhere, as at the releases of a repository. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from twisted_index.errors import ConfigurationError
from twisted_index.simple.formatting import quote_filename
from twisted_index.simple.model import Sidecar

if TYPE_CHECKING:
    from twisted_index.simple.model import File

_FIELDS = ("project", "version", "filename")
_FIELD = re.compile(r"\{([^{}]*)\}")


class IFilesUrl(Protocol):
    """The URLs of files that are elsewhere."""

    def of(self, project: str, file: File) -> str:
        """Return the absolute URL of a file of a project."""

    def promised(self, file: File) -> File:
        """Take from a file what clients would look for at its URL plus a suffix, and not find."""


@dataclass(frozen=True, slots=True)
class FilesUrl:
    """
    A template of absolute URLs.

    Attributes:
        template: With `{filename}`, and perhaps `{project}` and `{version}`.
    """

    template: str

    @classmethod
    def parse(cls, text: str) -> FilesUrl:
        """
        Parse a template; without `{filename}`, the file name follows it.

        Raises:
            ConfigurationError: It is no URL, or has other fields.
        """
        unknown = [name for name in _FIELD.findall(text) if name not in _FIELDS]
        if unknown or "{" in _FIELD.sub("", text) or "}" in _FIELD.sub("", text):
            raise ConfigurationError(
                f"--files-url: {text!r} may have the fields {{project}}, {{version}} and {{filename}} only."
            )
        if not _is_public(text):
            raise ConfigurationError(
                f"--files-url: {text!r} is not a URL such as https://host/v{{version}}/{{filename}}."
            )
        return cls(text if "{filename}" in text else text.rstrip("/") + "/{filename}")

    def of(self, project: str, file: File) -> str:
        """Return the URL of a file of a project."""
        values = {"project": project, "version": file.version, "filename": file.filename}
        return _FIELD.sub(lambda match: quote_filename(values[match[1]]), self.template)

    def promised(self, file: File) -> File:
        """
        Take core metadata (PEP 658) and signature (PEP 503) from a file; see `IFilesUrl`.

        The URL of a provenance is on the page (PEP 740).
        """
        return replace(file, core_metadata=None, sidecars=file.sidecars & {Sidecar.PROVENANCE})


def _is_public(text: str) -> bool:
    """Return whether a text is a URL that may be on a page: one without a password."""
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and "@" not in url.netloc
    except ValueError:
        return False
