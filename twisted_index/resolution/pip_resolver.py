"""
pip, as the resolver for this Python on this machine where there is no uv.

Blocks while pip runs; for worker threads and commands.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twisted_index.errors import ConfigurationError
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.uv import Unresolvable, printable_lines, written
from twisted_index.simple.names import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_index.resolution.uv import IndexAccess


def pip_pins(
    requirements: Sequence[str],
    index: IndexAccess,
    *,
    constraints: Sequence[str] = (),
    options: Sequence[str] = (),
) -> tuple[Pin, ...]:
    """
    Let pip choose the versions that it would install here.

    Args:
        requirements: As in a file of requirements, one each.
        index: The only index that is read.
        constraints: As in a file of constraints, one each.
        options: Further options of `pip install`.

    Raises:
        ConfigurationError: There is no pip.
        Unresolvable: No versions fit together, or pip fails otherwise.
    """
    words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    with tempfile.TemporaryDirectory(prefix="twisted-index-") as folder:
        wanted = written(os.path.join(folder, "requirements.txt"), requirements)
        constrained = written(os.path.join(folder, "constraints.txt"), constraints)
        # Without a shell; requirements are no options, as they stand in a file.
        run = subprocess.run(  # noqa: S603
            [*_pip(), *words, *options, "-r", wanted, "-c", constrained],
            env=_environment(index),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    if run.returncode:
        raise Unresolvable(f"pip cannot resolve the requirements:\n{printable_lines(run.stderr)}")
    # https://pip.pypa.io/en/stable/reference/installation-report/
    entries = [entry["metadata"] for entry in json.loads(run.stdout)["install"]]
    return tuple(Pin(project=normalize(entry["name"]), version=entry["version"]) for entry in entries)


def _pip() -> list[str]:
    """Return the command of pip: of this Python if it has one, so that pip selects files for it."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if found is None:
        raise ConfigurationError(
            "Neither uv nor pip is installed, but one is needed to resolve requirements: pip install"
            " 'twisted-index[download]'."
        )
    return [found]


def _environment(index: IndexAccess) -> dict[str, str]:
    """
    Return an environment in which pip uses these indexes alone, and no cache.

    The URLs are passed here and not as options, which every user of the machine can see.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    *others, default = index.urls
    hosts = [urlsplit(url).netloc.rpartition("@")[2] for url in index.urls if url.startswith("http:")]
    return {
        **kept,
        **index.environ,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CERT": index.environ.get("SSL_CERT_FILE", ""),
        "PIP_INDEX_URL": default,
        "PIP_EXTRA_INDEX_URL": " ".join(others),
        "PIP_TRUSTED_HOST": " ".join([*hosts, index.environ.get("UV_INSECURE_HOST", "")]).strip(),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
