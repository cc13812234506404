"""Real upload clients publish a wheel and an sdist, and the same again."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from twisted_index.testing import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.places

PYPROJECT = """\
[build-system]
requires = ["{requires}"]
build-backend = "{backend}"

[project]
name = "demo"
version = "1.0"
description = "Nothing."
requires-python = ">=3.8"
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    users.write_text(f"alice:{{SHA}}{digest}\n")
    return users


@pytest.fixture
def server(folder: Path, users: Path, module_server: Callable[..., Any]) -> Any:
    return module_server("--upload", "--auth", f"htpasswd:{users}")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A folder with a wheel and an sdist of one release."""
    dist = tmp_path / "project" / "dist"
    dist.mkdir(parents=True)
    make_wheel("demo", "1.0").write_to(dist)
    make_sdist("demo", "1.0").write_to(dist)
    return dist


def files_on(server: Any) -> list[str]:
    page = server.get("/simple/demo/", headers={"Accept": "text/html"})
    return sorted(name for name in ("demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz") if name in page.text)


BOTH = ["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]


def other_wheel(dist: Path) -> None:
    """Build the same wheel again, so that it has other bytes."""
    make_wheel("demo", "1.0", requires_python=">=3.9").write_to(dist)


# -- twine


@pytest.fixture
def twine(shell: Any, find_program: Callable[[str], str], server: Any, dist: Path) -> Callable[..., Any]:
    program = find_program("twine")

    def run(path: str = "/legacy/", password: str = "secret") -> Any:
        return shell.run(
            *(program, "upload", "--non-interactive", "--disable-progress-bar"),
            *("--repository-url", f"{server.origin}{path}", "-u", "alice", "-p", password),
            *sorted(dist.iterdir()),
        )

    return run


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/", "/simple/"])
def test_twine_publishes_and_again(server: Any, twine: Callable[..., Any], path: str):
    for _ in range(2):
        done = twine(path)
        assert done.code == 0, done.output
    assert files_on(server) == BOTH


def test_twine_says_what_is_there_already(server: Any, twine: Callable[..., Any], dist: Path):
    assert twine().code == 0
    other_wheel(dist)
    done = twine()
    assert done.code != 0
    assert "already exist" in done.output.replace("\n", " ")


def test_twine_says_that_the_password_is_wrong(server: Any, twine: Callable[..., Any]):
    done = twine(password="wrong")
    assert done.code != 0
    assert "401" in done.output
    assert files_on(server) == []


# -- uv


@pytest.fixture
def uv(shell: Any, find_program: Callable[[str], str], server: Any, dist: Path) -> Callable[..., Any]:
    program = find_program("uv")

    def run(path: str = "/legacy/", *more: str, password: str = "secret") -> Any:
        return shell.run(
            *(program, "publish", "--publish-url", f"{server.origin}{path}", "--trusted-publishing", "never"),
            *("-u", "alice", "-p", password, *more, *sorted(dist.iterdir())),
        )

    return run


@pytest.mark.parametrize("path", ["/legacy/", "/legacy"])
def test_uv_publishes_and_again(server: Any, uv: Callable[..., Any], path: str):
    for _ in range(2):
        done = uv(path)
        assert done.code == 0, done.output
    assert files_on(server) == BOTH


def test_uv_skips_what_its_check_url_shows(server: Any, uv: Callable[..., Any]):
    assert uv("/legacy/", "--check-url", server.simple).code == 0
    done = uv("/legacy/", "--check-url", server.simple)
    assert done.code == 0, done.output
    assert "already exists, skipping" in done.output


def test_uv_says_what_is_there_already(server: Any, uv: Callable[..., Any], dist: Path):
    assert uv().code == 0
    other_wheel(dist)
    done = uv()
    assert done.code != 0
    assert "already exist" in done.output


def test_uv_says_that_the_password_is_wrong(server: Any, uv: Callable[..., Any]):
    done = uv(password="wrong")
    assert done.code != 0
    assert "401" in done.output
    assert files_on(server) == []


# -- flit, hatch, poetry, pdm: each may be absent


def test_flit_publishes_and_again(shell: Any, find_program: Callable[[str], str], server: Any, dist: Path):
    program = find_program("flit")
    project = dist.parent
    (project / "pyproject.toml").write_text(
        PYPROJECT.format(requires="flit_core", backend="flit_core.buildapi")
    )
    (project / "demo.py").write_text('"""Nothing."""\n')
    env = {
        "FLIT_INDEX_URL": f"{server.origin}/legacy/",
        "FLIT_USERNAME": "alice",
        "FLIT_PASSWORD": "secret",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    for _ in range(2):
        done = shell.run(program, "publish", "--no-use-vcs", env=env, cwd=project)
        assert done.code == 0, done.output
    assert files_on(server) == BOTH


@pytest.mark.parametrize("path", ["/legacy/", "/", "/simple/"])
def test_hatch_publishes_and_again(
    shell: Any, find_program: Callable[[str], str], server: Any, dist: Path, path: str
):
    program = find_program("hatch")
    project = dist.parent
    (project / "pyproject.toml").write_text(PYPROJECT.format(requires="hatchling", backend="hatchling.build"))
    command = [program, "publish", "-n", "-r", f"{server.origin}{path}", "-u", "alice", "-a", "secret"]
    for _ in range(2):
        done = shell.run(*command, *sorted(dist.iterdir()), cwd=project)
        assert done.code == 0, done.output
    # It has looked below the upload URL, as devpi has it.
    assert "already exists" in done.output
    assert files_on(server) == BOTH


def test_poetry_publishes_and_says_what_is_there(
    shell: Any, find_program: Callable[[str], str], server: Any, dist: Path
):
    program = find_program("poetry")
    project = dist.parent
    (project / "pyproject.toml").write_text(
        PYPROJECT.format(requires="poetry-core", backend="poetry.core.masonry.api")
    )
    env = {"POETRY_REPOSITORIES_HERE_URL": f"{server.origin}/legacy/", "POETRY_KEYRING_ENABLED": "false"}
    command = [program, "publish", "-r", "here", "-u", "alice", "-p", "secret"]
    for _ in range(2):
        done = shell.run(*command, env=env, cwd=project)
        assert done.code == 0, done.output
    assert files_on(server) == BOTH
    other_wheel(dist)
    done = shell.run(*command, env=env, cwd=project)
    assert done.code != 0
    assert "already exist" in " ".join(done.output.split())
    assert shell.run(*command, "--skip-existing", env=env, cwd=project).code == 0


def test_pdm_publishes_and_again(shell: Any, find_program: Callable[[str], str], server: Any, dist: Path):
    program = find_program("pdm")
    project = dist.parent
    (project / "pyproject.toml").write_text(PYPROJECT.format(requires="pdm-backend", backend="pdm.backend"))
    command = [
        program,
        "publish",
        "--no-build",
        "-r",
        f"{server.origin}/legacy/",
        "-u",
        "alice",
        "-P",
        "secret",
    ]
    for _ in range(2):
        done = shell.run(*command, cwd=project, env={"PDM_PYTHON": sys.executable})
        assert done.code == 0, done.output
    assert files_on(server) == BOTH
    other_wheel(dist)
    assert shell.run(*command, cwd=project).code != 0
    assert shell.run(*command, "--skip-existing", cwd=project).code == 0


# -- curl, for those who have nothing else


def test_curl_needs_no_more_than_the_file(
    shell: Any, find_program: Callable[[str], str], server: Any, dist: Path
):
    program = find_program("curl")
    for file in sorted(dist.iterdir()):
        said = shell.must(
            *(program, "-sS", "--fail-with-body", "-u", "alice:secret", "-F", ":action=file_upload"),
            *("-F", f"content=@{file}", f"{server.origin}/legacy/"),
        )
        assert said == f"Published {file.name}.\n"
    assert files_on(server) == BOTH
