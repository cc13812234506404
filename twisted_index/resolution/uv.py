"""
uv, as the resolver for any target: it evaluates markers for the target, where pip does so for its machine.

Blocks while uv runs; for worker threads and commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted_index.config.pip_index import cached_pip_index
from twisted_index.errors import ConfigurationError, SimpleIndexError
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.targets import uv_words
from twisted_index.simple.formatting import printable, without_users
from twisted_index.simple.names import normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from twisted_index.resolution.targets import Target

#: Of uv's settings, those about this machine and not about what is resolved.
_KEPT = ("UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_CONCURRENT_DOWNLOADS", "UV_CONCURRENT_BUILDS")
_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


class Unresolvable(SimpleIndexError):
    """No versions fit together; the message holds what the resolver says of it, in several lines."""


def find_uv() -> str | None:
    """Return the path of uv: beside this Python, else of the package `uv`, else on PATH; None without."""
    beside = shutil.which("uv", path=os.path.dirname(sys.executable))
    if beside is not None:
        return beside
    try:
        from uv import find_uv_bin

        return os.fsdecode(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def require_uv(purpose: str) -> str:
    """
    Return the path of uv.

    Args:
        purpose: What needs it, as the beginning of a sentence.

    Raises:
        ConfigurationError: There is none; the message names the cure.
    """
    found = find_uv()
    if found is None:
        raise ConfigurationError(
            f"{purpose} needs uv, which is not installed: pip install 'twisted-index[download]'."
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAccess:
    """
    The only indexes that a resolver reads, and how.

    Attributes:
        urls: Of simple APIs; the first that has a project answers for it. They may hold passwords.
        environ: Proxies and certificates, by the names of their environment variables.
        folders: Folders of distributions that are read besides.
    """

    urls: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def index_access(source: str, environ: Mapping[str, str]) -> IndexAccess:
    """
    Return how uv reads a source: with the URLs, proxy and certificates that our own client uses for it.

    pip's indexes in the file system and its `find-links` are left out, since only files that the source
    serves can be fetched.

    Args:
        source: A URL, or `pip` for what pip is configured to use.
        environ: The environment.

    Raises:
        ConfigurationError: No index is configured for pip.
    """
    if source != "pip":
        return IndexAccess(urls=(source,))
    index = cached_pip_index(environ)
    own = {
        "SSL_CERT_FILE": index.cert,
        "SSL_CLIENT_CERT": index.tls.client_cert,
        "UV_INSECURE_HOST": " ".join(sorted(index.tls.trusted_hosts)),
        **({"HTTP_PROXY": index.proxy, "HTTPS_PROXY": index.proxy, "NO_PROXY": ""} if index.proxy else {}),
    }
    return IndexAccess(urls=index.urls, environ={name: value for name, value in own.items() if value})


def compile_pins(
    uv: str,
    requirements: Sequence[str],
    target: Target,
    index: IndexAccess,
    *,
    constraints: Sequence[str] = (),
    options: Sequence[str] = (),
) -> tuple[Pin, ...]:
    """
    Let uv choose versions for a target.

    Args:
        uv: The path of uv.
        requirements: As in a file of requirements, one each.
        target: For which markers and tags are evaluated.
        index: The only index that is read.
        constraints: As in a file of constraints, one each.
        options: Further options of `uv pip compile`.

    Raises:
        Unresolvable: No versions fit together, or uv fails otherwise.
    """
    words, environ = uv_words(target)
    with tempfile.TemporaryDirectory(prefix="twisted-index-") as folder:
        constrained = written(os.path.join(folder, "constraints.txt"), constraints)
        where = [word for folder in index.folders for word in ("--find-links", os.path.abspath(folder))]
        command = [
            uv,
            "pip",
            "compile",
            "-",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--python",
            sys.executable,
        ]
        # Without a shell; requirements are no options, as they arrive by standard input.
        run = subprocess.run(  # noqa: S603
            [*command, "--constraints", constrained, *words, *where, *options],
            input="".join(f"{line}\n" for line in requirements).encode(),
            env={**_environment(index), **environ},
            # Without a pyproject.toml and uv.toml of the current folder.
            cwd=folder,
            capture_output=True,
            check=False,
        )
    if run.returncode:
        raise Unresolvable(f"uv cannot resolve the requirements for {target}:\n{printable_lines(run.stderr)}")
    return tuple(_pins(run.stdout.decode(errors="replace")))


def printable_lines(output: bytes) -> str:
    """Return what a resolver has written, without users and passwords."""
    text = without_users(output.decode(errors="replace")).strip()
    return "\n".join(map(printable, text.splitlines()))


def written(path: str, lines: Sequence[str]) -> str:
    """Write lines into a file, and return its path."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def _environment(index: IndexAccess) -> dict[str, str]:
    """
    Return an environment in which uv reads these indexes alone.

    The URLs are passed here and not as options, which every user of the machine can see.
    """
    own = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not name.startswith(("UV_", "PIP_"))
    }
    *others, default = index.urls or ("",)
    indexes = {"UV_DEFAULT_INDEX": default, "UV_INDEX": " ".join(others)}
    return {
        **own,
        **index.environ,
        **(indexes if index.urls else {"UV_NO_INDEX": "1", "UV_OFFLINE": "1"}),
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
    }


def _pins(text: str) -> Iterator[Pin]:
    for line in text.splitlines():
        match = _PIN.match(line)
        if match is not None:
            yield Pin(project=normalize(match[1]), version=match[2])
