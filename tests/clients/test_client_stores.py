"""twine and uv publish into each kind of store, and pip and uv install from it; Ceph has all their tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import object_stores
from twisted_index.testing import make_sdist, make_wheel


@pytest.fixture(params=["rclone", "swift", "azurite"])
def server(
    request: pytest.FixtureRequest,
    stores_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    live_server: Callable[..., Any],
) -> Any:
    url = object_stores.empty_place(request.param, stores_folder, monkeypatch)
    options = ("--upload", "--anonymous-upload", "--rescan", "0")
    return live_server(url, options=options, env={"TWISTED_INDEX_SINGLE_WRITER": "1"})


def test_what_twine_and_uv_publish_is_installed(
    server: Any, shell: Any, pip: Any, uv: Any, find_program: Callable[[str], str], tmp_path: Path
):
    dist = tmp_path / "dist"
    first = make_wheel("demo", "1.0", requires=["needed>=2"]).write_to(dist)
    second = make_sdist("needed", "2.0").write_to(dist)
    url, user = f"{server.origin}/legacy/", ("-u", "anyone", "-p", "anything")
    twine = (find_program("twine"), "upload", "--non-interactive", "--disable-progress-bar")
    publish = (find_program("uv"), "publish", "--trusted-publishing", "never")
    for _ in range(2):
        shell.must(*twine, "--repository-url", url, *user, first)
        shell.must(*publish, "--publish-url", url, *user, second)
    for installer in (pip, uv):
        assert installer.install("--index-url", server.simple, "demo") == {"demo-1.0", "needed-2.0"}
