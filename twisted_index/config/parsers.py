"""
Parsers of settings: durations, sizes, paths, URLs, patterns, from text or TOML.

An invalid value raises a ValueError with the reason, which never contains possible secrets.
Out of scope: addresses, proxies and header fields (see `network_parsers`).
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from twisted_index.config.bucket_location import is_bucket_url, lacks_slash, parse_location
from twisted_index.errors import ConfigurationError
from twisted_index.github.repository import is_repository, parse_repository
from twisted_index.simple.name_patterns import index_pattern, is_index_name, normalized_pattern

#: Parses a raw value; raises a ValueError with the reason.
Parser: TypeAlias = Callable[[Any], object]

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d|w)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_SIZE = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*(kB|MB|GB|KiB|MiB|GiB)?", re.ASCII)
_BYTES = {"": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}

#: Characters of a title.
_MAX_TITLE = 200

#: The ways to serve a project that the folders do not have.
MODES = ("cache", "proxy", "redirect")

#: How files of a bucket come to clients.
DELIVERIES = ("stream", "redirect")

#: The formats of the access log.
LOG_FORMATS = ("combined", "json")

#: The description of a credential checker for strcred: its type, and a rest that the type interprets.
_CHECKER = re.compile(r"(?P<type>[A-Za-z][A-Za-z0-9_-]*)(?P<rest>:.*)?", re.ASCII)


def duration(raw: object) -> float:
    """
    Read a duration.

    Args:
        raw: A number of seconds, or text such as "2", "0.5", "500ms", "30s", "5m", "2h", "7d", "2w".

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: It is not a duration.
    """
    if isinstance(raw, str) and (match := _DURATION.fullmatch(raw.strip())):
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    elif isinstance(raw, (int, float)) and not isinstance(raw, bool):
        # Comparing is exact, while float() cannot convert an integer of 400 digits.
        seconds = float(raw) if raw <= sys.float_info.max else math.inf
    else:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{raw!r} is not a duration; write seconds, or 500ms, 30s, 5m, 2h, 7d, 2w")
    return seconds


def size(raw: object) -> int:
    """
    Read a size.

    Args:
        raw: A number of bytes, or text such as "500kB", "64MB", "1.5GB" (powers of 1000) or
            "64MiB" (of 1024).

    Returns:
        Whole bytes, not negative.

    Raises:
        ValueError: It is not a size.
    """
    if isinstance(raw, str) and (match := _SIZE.fullmatch(raw.strip())):
        return int(float(match[1]) * _BYTES[match[2] or ""])
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    raise ValueError(f"{raw!r} is not a size; write bytes, or 500kB, 64MB, 1GB, 64MiB")


def several(parse: Parser, raw: object) -> tuple[object, ...]:
    """Read one value or a list of them, in order, each once."""
    values = tuple(raw) if isinstance(raw, (list, tuple)) else (raw,)
    if not values:
        raise ValueError("the list is empty")
    return tuple(dict.fromkeys(parse(value) for value in values))


def text(raw: object) -> str:
    """Read text that is not empty; a NUL would fail in a system call much later."""
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is not text; put it in quotes")
    if not raw.strip() or "\0" in raw:
        raise ValueError(f"{raw!r} cannot be used")
    return raw


def title(raw: object) -> str:
    """Read the title of an index; blanks around it are removed."""
    value = text(raw).strip()
    if len(value) > _MAX_TITLE or not value.isprintable():
        raise ValueError(f"a title is one line of at most {_MAX_TITLE} characters")
    return value


def path(folder: str, raw: object) -> str:
    """
    Read a path and make it absolute at once: twistd changes its folder before it starts.

    The home folder is expanded here, as shells do not expand it in `--path=~/packages`.

    Raises:
        ValueError: It is the URL of a bucket, which would be taken for a folder of that name.
    """
    value = text(os.fspath(raw) if isinstance(raw, os.PathLike) else raw)
    if is_bucket_url(value) or lacks_slash(value):
        raise ValueError(f"{value} is a bucket, where a local path is needed; rclone copies between the two")
    return os.path.abspath(os.path.join(folder, os.path.expanduser(value)))


def package_path(folder: str, raw: object) -> str:
    """Read a path of packages: that of a folder, see `path`, or the URL of a bucket."""
    value = text(os.fspath(raw) if isinstance(raw, os.PathLike) else raw)
    if not is_bucket_url(value) and not lacks_slash(value):
        return path(folder, value)
    try:
        return parse_location(value).url
    except ConfigurationError as error:
        raise ValueError(error.message.removesuffix(".")) from error


def flag(raw: object) -> bool:
    """Read a switch: true or false, 1 or 0, or one of the words for them."""
    value = str(int(raw)) if isinstance(raw, (bool, int)) else str(raw).strip().lower()
    if value not in _YES | _NO:
        raise ValueError(f"{raw!r} is neither true nor false")
    return value in _YES


def public_url(raw: object) -> str:
    """Read the URL that is shown to users, without a trailing slash."""
    value = text(raw).strip()
    if not _is_url(value):
        raise ValueError(f"{value!r} is not a URL; write it like https://packages.example.org")
    if "?" in value or "#" in value or "@" in urlsplit(value).netloc:
        raise ValueError(f"{value!r} has a query, a fragment or a user; leave that out")
    return value.rstrip("/")


def timeout(raw: object) -> float:
    """Parse a duration other than 0, which would refuse every client."""
    seconds = duration(raw)
    if not seconds:
        raise ValueError("this cannot be 0")
    return seconds


def count(raw: object) -> int:
    """Read a whole number from 1."""
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < 1:
        raise ValueError(f"{raw!r} is not a whole number from 1")
    return raw


def zero_or_one(raw: object) -> int:
    """Read 0 or 1."""
    if isinstance(raw, bool) or raw not in (0, 1, "0", "1"):
        raise ValueError(f"{raw!r} is neither 0 nor 1")
    return int(str(raw))


def max_upload(raw: object) -> int:
    """Read a size that is not 0."""
    value = size(raw)
    if not value:
        raise ValueError("this cannot be 0; omit upload to accept none")
    return value


def single_word(raw: object) -> str:
    """Read text without inner blanks; blanks around it are removed."""
    value = text(raw).strip()
    if value != "".join(value.split()):
        raise ValueError(f"{value!r} contains a space; write several patterns separately")
    return value


def name_pattern(raw: object) -> str:
    """Read a pattern of project names; returned as written."""
    value = text(raw).strip()
    normalized_pattern(value)
    return value


def index_name(raw: object) -> str:
    """Read the name of an index: letters and digits, with `-`, `.` and `_` inside."""
    value = text(raw).strip()
    if not is_index_name(value):
        raise ValueError(f"{value!r} is not the name of an index; write it like prod, as its folder is named")
    return value


def named_indexes(raw: object) -> str:
    """Read a pattern of names of indexes."""
    return index_pattern(text(raw).strip())


def remote_url(raw: object) -> str:
    """
    Parse the URL of another server, which may hold a user and a password.

    It is never shown, not even if it is invalid: the invalid part may be the secret.
    """
    value = _secret_text(raw).strip()
    if not _is_url(value):
        raise ValueError(
            "this is not an http or https URL; write it like https://user:password@packages.example.org/path"
        )
    return value


def server_url(raw: object) -> str:
    """Read the URL of a server of packages, above its `simple/`; it may hold a user and a password."""
    value = remote_url(raw)
    if "?" in value or "#" in value:
        raise ValueError("the URL of a server has no query or fragment; leave that out")
    if value.rstrip("/").endswith(("/simple", "/legacy")):
        raise ValueError("this is the URL of an index for installers; write it without simple/ or legacy/")
    return value


def upstream(raw: object) -> str:
    """Read the URL of a simple API, the word `pip`, or a repository such as `github:OWNER/REPO`."""
    if raw == "pip":
        return "pip"
    if isinstance(raw, str) and is_repository(raw.strip()):
        return parse_repository(_secret_text(raw).strip()).word
    value = remote_url(raw)
    if "?" in value or "#" in value:
        raise ValueError("the URL of an upstream has no query or fragment; leave that out")
    return value


def mode(raw: object) -> str:
    """Read the way to serve the projects of an upstream."""
    if raw not in MODES:
        raise ValueError(f"{raw!r} is not a mode; write {', '.join(MODES[:-1])} or {MODES[-1]}")
    return str(raw)


def delivery(raw: object) -> str:
    """Read how files of a bucket come to clients."""
    if raw not in DELIVERIES:
        raise ValueError(f"{raw!r} is no way to deliver files; write {' or '.join(DELIVERIES)}")
    return str(raw)


def access_log_format(raw: object) -> str:
    """Read the format of the access log."""
    if raw not in LOG_FORMATS:
        raise ValueError(f"{raw!r} is not a format; write {' or '.join(LOG_FORMATS)}")
    return str(raw)


def credential_checker(folder: str, raw: object) -> str:
    """
    Read the description of a credential checker, such as `htpasswd:FILE`.

    The file of an htpasswd is made absolute as any path is. The rest of other types is not interpreted,
    and may be a secret.
    """
    value = _CHECKER.fullmatch(_secret_text(raw).strip())
    if value is None:
        raise ValueError("this is not a way to check passwords; write it like htpasswd:FILE")
    if value["type"] != "htpasswd":
        return value[0]
    if not (value["rest"] or ":")[1:].strip():
        raise ValueError("the file is missing; write it like htpasswd:FILE")
    return f"htpasswd:{path(folder, value['rest'][1:])}"


def _secret_text(raw: object) -> str:
    """Read text that may hold a secret."""
    if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
        raise ValueError("this is not a line of text")
    return raw


def _is_url(value: str) -> bool:
    """Whether text is an absolute URL of http or https, in ASCII."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port, brackets without an address
        return False
    return valid and value.isascii() and value.isprintable() and " " not in value
