"""A checkout, an environment with what is installed from it, and small distributions to serve."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.kit.environments import Environment, libraries_in, make_environment
from tests.kit.github_server import GitHubServer
from twisted_index.testing import RunningIndex, make_sdist, make_wheel

SECONDS = 300

#: Older than every cool-down.
_OLD = 1_700_000_000

#: What a checkout has, without what running from it leaves there.
_SOURCES = (
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
    "docs",
    "tests",
    "twisted",
    "twisted_index",
)
_LEFT = shutil.ignore_patterns("__pycache__", "dropin.cache", ".hypothesis")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout."""
    folder = tmp_path / "twisted-index"
    folder.mkdir()
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=_LEFT)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of distributions that install in no time."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("demo", "acme", "mujoco", "attrs"):
        make_wheel(name, "1.0").write_to(folder)
    make_wheel("demo", "1.1").write_to(folder)
    make_wheel("torch", "2.10.0.dev1").write_to(folder)
    for name in ("pip", "setuptools", "wheel", "hatchling", "flit-core", "for-windows"):
        make_wheel(name, "1.0").write_to(folder)
    make_wheel("portable", "1.0", requires=["for-windows; sys_platform == 'win32'"]).write_to(folder)
    for platform in ("win_amd64", "macosx_11_0_arm64", "manylinux_2_17_x86_64"):
        make_wheel("markupsafe", "1.0", tag=f"cp313-cp313-{platform}").write_to(folder)
    make_sdist("acme", "1.0").write_to(folder)
    for path in folder.iterdir():
        os.utime(path, (_OLD, _OLD))
    return folder


@pytest.fixture
def upstream(made: Path) -> Iterator[RunningIndex]:
    """An index of them."""
    with RunningIndex() as index:
        for path in made.iterdir():
            shutil.copy2(path, index.folder)
        yield index


@pytest.fixture
def forge() -> Iterator[GitHubServer]:
    """A public repository and a private one."""
    with GitHubServer() as server:
        for name, project in (("acme/tools", "acme-tools"), ("acme/private", "acme-secrets")):
            built = make_wheel(project, "1.0")
            repository = server.repository(name, private=name == "acme/private")
            repository.release("v1.0", {built.filename: built.content})
        server.token("github_pat_docs", read=("acme/private",), write=("acme/tools",))
        yield server


@pytest.fixture(scope="session")
def pip_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keep what pip fetches from its index for all tests, and skip those that need one if it has none."""
    env = {
        "PIP_CACHE_DIR": str(tmp_path_factory.mktemp("pip-cache")),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # takes longer than the installation, and little of it is used
    }
    target = tmp_path_factory.mktemp("hatchling")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(target), "hatchling"]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        pytest.skip("pip reaches no index from here, so nothing can be installed as the documents say")
    return env


def activated(environment: Environment) -> dict[str, str]:
    """Give the variables of a shell with an active environment; programs of this one come after its."""
    path = [environment.script(""), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {"VIRTUAL_ENV": str(environment.folder), "PATH": os.pathsep.join([*path, "/usr/sbin", "/sbin"])}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell in an environment with this package, for documents that begin after the installation."""
    libraries = libraries_in(tmp_path_factory.mktemp("libraries") / "site-packages")
    environment = make_environment(tmp_path_factory.mktemp("installed") / "venv", libraries)
    environment.install(str(ROOT))
    return activated(environment)
