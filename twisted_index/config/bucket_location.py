"""Where a bucket is: `s3://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, `gs://BUCKET/PREFIX`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from twisted_index.errors import ConfigurationError

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<bucket>[^/]*)(?P<prefix>/.*)?", re.DOTALL)
_SCHEMES = ("s3", "az", "gs")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True, slots=True)
class Location:
    """
    A place in an object store.

    Attributes:
        scheme: `s3`, `az` or `gs`.
        bucket: The bucket, or the container.
        prefix: Whole parts of keys, without a slash at either end; may be empty.
    """

    scheme: str
    bucket: str
    prefix: str = ""

    @property
    def url(self) -> str:
        """The URL, without a slash at its end."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def is_bucket_url(path: str) -> bool:
    """Return whether a path is meant as the URL of a bucket, well-formed or not."""
    return path.split("://", 1)[0].lower() in _SCHEMES and "://" in path


def lacks_slash(path: str) -> bool:
    """Return whether a path is the URL of a bucket but for one slash, as `os.path.join` makes it."""
    return ":/" in path and path.partition(":/")[0].lower() in _SCHEMES and not is_bucket_url(path)


def parse_location(url: str) -> Location:
    """
    Parse the URL of a bucket.

    Raises:
        ConfigurationError: It is none.
    """
    match = _URL.fullmatch(url)
    scheme = "" if match is None else match["scheme"].lower()
    if match is None or scheme not in _SCHEMES:
        raise ConfigurationError(f"{url!r} is not the URL of a bucket, such as s3://BUCKET/PREFIX.")
    bucket, prefix = match["bucket"], (match["prefix"] or "").strip("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(
            f"{url!r} names no bucket: write {scheme}://BUCKET/PREFIX. Where the store is and its keys"
            " are said by variables such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID."
        )
    parts = prefix.split("/") if prefix else []
    if any(part in ("", ".", "..") or not part.isprintable() or "?" in part or "#" in part for part in parts):
        raise ConfigurationError(f"The prefix of {url!r} is not one that a folder could have.")
    return Location(scheme, bucket, prefix)
