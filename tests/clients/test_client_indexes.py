"""Real installers and publishers use an index by its URL, as if it were the only one of its server."""

from __future__ import annotations

import base64
import hashlib
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from twisted_index.testing import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

#: `app` is in dev, and what it needs in prod, which dev inherits, and in the base of that.
NEEDED = {"app-1.0", "middle-1.0", "leaf-1.0"}
BOTH = ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]


@pytest.fixture
def indexes(tmp_path: Path) -> Path:
    folder = tmp_path / "indexes"
    for name, settings in (("base", ""), ("prod", 'bases = ["base"]\n'), ("dev", 'bases = ["prod"]\n')):
        (folder / name).mkdir(parents=True)
        (folder / name / ".index.toml").write_text(settings)
    (folder / "staging").mkdir()
    make_wheel("leaf", "1.0").write_to(folder / "base")
    make_wheel("middle", "1.0", requires=["leaf"]).write_to(folder / "prod" / "middle")
    make_wheel("app", "1.0", requires=["middle"]).write_to(folder / "dev")
    return folder


@pytest.fixture
def server(indexes: Path, tmp_path: Path, live_server: Callable[..., Any]) -> Any:
    users, plain = tmp_path / "htpasswd", tmp_path / "plain"
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    users.write_text(f"alice:{{SHA}}{digest}\n")
    plain.mkdir()
    return live_server(plain, options=["--indexes", str(indexes), "--upload", "--auth", f"htpasswd:{users}"])


@pytest.mark.parametrize("path", ["/+dev/simple/", "/+dev/", "/%2Bdev/simple"])
def test_a_project_is_installed_with_what_the_bases_have(installer: Any, server: Any, path: str):
    assert installer.install("--index-url", server.origin + path, "app") == NEEDED


def test_the_flat_page_of_an_index_serves_find_links(installer: Any, server: Any):
    links = f"{server.origin}/+dev/packages/"
    assert installer.install("--no-index", "--find-links", links, "app") == NEEDED


@pytest.mark.parametrize("name", ["uv", "poetry", "pdm"])
def test_a_project_is_locked_and_installed(
    name: str, shell: Any, find_program: Any, server: Any, indexes: Path, read_installed: Any
):
    """The lock has files of three indexes, and is good when the one that it was made with is gone."""
    program = find_program(name)
    url = f"{server.origin}/+dev/simple/"
    tables = {
        "uv": f'[[tool.uv.index]]\nurl = "{url}"\ndefault = true\n',
        "poetry": "[tool.poetry]\npackage-mode = false\n"
        f'[[tool.poetry.source]]\nname = "ours"\nurl = "{url}"\npriority = "primary"\n',
        "pdm": f'[tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = "pypi"\nurl = "{url}"\n',
    }
    home = shell.home / "project"
    home.mkdir()
    text = """\
        [project]
        name = "user"
        version = "1"
        requires-python = ">=3.11"
        dependencies = ["app"]
    """
    (home / "pyproject.toml").write_text(f"{textwrap.dedent(text)}\n{tables[name]}")
    shell.must(program, "lock", cwd=home)
    sync = {
        "uv": ("sync", "--locked", "--no-install-project"),
        "poetry": ("sync", "--no-root"),
        "pdm": ("sync",),
    }
    shell.must(program, *sync[name], cwd=home)
    assert read_installed(home / ".venv") >= NEEDED
    if name == "uv":
        assert f"{server.origin}/+base/simple/leaf/leaf-1.0" in (home / "uv.lock").read_text()


def published(indexes: Path) -> list[str]:
    return sorted(path.name for path in (indexes / "staging").rglob("demo-*"))


@pytest.mark.parametrize("name", ["twine", "uv", "hatch"])
def test_a_release_is_published_into_its_index_and_again(
    name: str, shell: Any, find_program: Any, server: Any, indexes: Path, tmp_path: Path
):
    program = find_program(name)
    dist, url = tmp_path / "project" / "dist", f"{server.origin}/+staging/legacy/"
    dist.mkdir(parents=True)
    make_wheel("demo", "1.0").write_to(dist)
    make_sdist("demo", "1.0").write_to(dist)
    (dist.parent / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "demo"\nversion = "1.0"\n'
    )
    commands = {
        "twine": ("upload", "--non-interactive", "--repository-url", url, "-u", "alice", "-p", "secret"),
        "uv": (
            "publish",
            "--publish-url",
            url,
            "--trusted-publishing",
            "never",
            "-u",
            "alice",
            "-p",
            "secret",
        ),
        "hatch": ("publish", "-n", "-r", url, "-u", "alice", "-a", "secret"),
    }
    for _ in range(2):
        done = shell.run(program, *commands[name], *sorted(dist.iterdir()), cwd=dist.parent)
        assert done.code == 0, done.output
    assert published(indexes) == BOTH
    if name == "hatch":
        assert "already exists" in done.output
    assert BOTH[0] in server.get("/+staging/simple/demo/").text
    assert server.get("/simple/demo/").status == 404
