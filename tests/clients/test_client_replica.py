"""Real upload clients publish through a replica."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from twisted_index.testing import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def primary(tmp_path: Path, live_server: Callable[..., Any]) -> Any:
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    (tmp_path / "htpasswd").write_text(f"alice:{{SHA}}{digest}\n")
    (tmp_path / "packages").mkdir()
    users = f"htpasswd:{tmp_path / 'htpasswd'}"
    return live_server(tmp_path / "packages", options=["--upload", "--auth", users])


@pytest.fixture
def replica(primary: Any, tmp_path: Path, live_server: Callable[..., Any]) -> Any:
    state, url = tmp_path / "replica-state", f"{primary.origin}/".replace("//", "//alice:secret@")
    (tmp_path / "replica").mkdir()
    return live_server(tmp_path / "replica", options=["--replica-of", url], state=state)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    dist = tmp_path / "dist"
    dist.mkdir()
    make_wheel("demo", "1.0").write_to(dist)
    make_sdist("demo", "1.0").write_to(dist)
    return dist


@pytest.fixture(params=["twine", "uv"])
def publish(
    request: pytest.FixtureRequest, shell: Any, find_program: Callable[[str], str], replica: Any, dist: Path
) -> Callable[[str], Any]:
    program, url = find_program(request.param), f"{replica.origin}/legacy/"
    twine = ("upload", "--non-interactive", "--disable-progress-bar", "--repository-url", url)
    uv = ("publish", "--trusted-publishing", "never", "--publish-url", url)

    def run(password: str) -> Any:
        words = twine if request.param == "twine" else uv
        return shell.run(program, *words, "-u", "alice", "-p", password, *sorted(dist.iterdir()))

    return run


def test_a_release_is_published_through_a_replica(primary: Any, replica: Any, publish: Callable[[str], Any]):
    for _ in range(2):
        done = publish("secret")
        assert done.code == 0, done.output
    for server in (primary, replica):
        page = server.get("/simple/demo/", headers={"Accept": "text/html"}).text
        assert "demo-1.0-py3-none-any.whl" in page
        assert "demo-1.0.tar.gz" in page


def test_the_client_shows_why_a_replica_makes_no_change(primary: Any, publish: Callable[[str], Any]):
    done = publish("wrong")
    assert done.code != 0
    assert "password is wrong" in done.output.replace("\n", " ")
    primary.stop()
    done = publish("secret")
    assert done.code != 0
    assert "cannot be reached" in " ".join(done.output.split())
