"""A folder with something of everything, served once for all tests that do not change it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.bucket_folder import new_folder
from tests.kit.mounts import mounted
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: 2021-02-03 04:05:06 UTC
MODIFIED = 1612325106

YANK_REASON = 'broken: <b>"1 & 2"</b>'
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\nnone\n-----END PGP SIGNATURE-----\n"
PROVENANCE = b'{"version": 1, "attestation_bundles": []}\n'


@dataclass(frozen=True)
class Content:
    """What lies in the folder."""

    folder: Path
    wheel: BuiltFile
    sdist: BuiltFile
    local: BuiltFile
    epoch: BuiltFile
    yanked: BuiltFile
    spelled: BuiltFile
    demo: tuple[BuiltFile, ...] = field(default=())


def _put(file: BuiltFile, folder: Path) -> BuiltFile:
    os.utime(file.write_to(folder), (MODIFIED, MODIFIED))
    return file


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("SECRET")
    root = outside / "packages"
    demo = root / "demo"
    ballast = os.urandom(300_000)
    wheel = _put(make_wheel("demo", "1.0", requires_python=">=3.8, <9"), demo)
    sdist = _put(make_sdist("demo", "1.0", files={"demo/ballast.bin": ballast}), demo)
    local = _put(make_wheel("demo", "1.0+loc.1"), demo)
    epoch = _put(make_wheel("demo", "1!2.0"), demo)
    yanked = _put(make_wheel("demo", "0.9", build="1"), demo)
    (demo / f"{yanked.filename}.yanked").write_text(YANK_REASON + "\n")
    (demo / f"{wheel.filename}.asc").write_bytes(SIGNATURE)
    (demo / f"{wheel.filename}.provenance").write_bytes(PROVENANCE)
    spelled = _put(make_wheel("de-mo", "1.0"), root / "De_Mo")
    for status in ("archived", "deprecated", "quarantined"):
        _put(make_wheel(status, "1.0"), root / status)
        (root / status / f".{status}").write_text('old & "odd"\n')
    (root / "claimed").mkdir()
    (root / "claimed" / ".claimed").touch()
    (root / "build").mkdir()
    (root / "build" / "notes.txt").write_text("nothing of ours")
    return Content(root, wheel, sdist, local, epoch, yanked, spelled, (yanked, wheel, sdist, local, epoch))


@pytest.fixture(scope="session")
def serve_content(
    content: Content,
    server_factory: Callable[..., Any],
    all_operate: list[str],
    stores_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Any]]:
    """Start the server of `content`, where it lies or copied into a store, once for all tests."""
    started: dict[str, Any] = {}

    def serve(kind: str) -> Any:
        if kind not in started:
            started[kind] = (
                server_factory(content.folder)
                if kind == "folder"
                else server_factory(copied(kind), options=all_operate)
            )
        return started[kind]

    def copied(kind: str) -> Any:
        place: Any = new_folder(kind, stores_folder, tmp_path_factory)
        place.copy_in(content.folder)
        return place

    yield serve
    for server in started.values():
        server.stop()
        assert "Traceback (most recent call last)" not in server.log, server.log


@pytest.fixture
def served(request: pytest.FixtureRequest) -> str:
    """Where `content` lies: in the folder, and in modules marked `places` in a bucket too."""
    return str(getattr(request, "param", "folder"))


@pytest.fixture
def index(served: str, serve_content: Callable[[str], Any]) -> Any:
    """The server of `content`, for tests that change nothing."""
    return serve_content(served)
