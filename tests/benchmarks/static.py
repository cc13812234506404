"""
An index of files only: what this server answers, written down, for nginx to send.

Not for: the export that users have.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from tests.benchmarks.load import JSON, Ask, Client, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.servers import TwistedIndex


def write_index(ours: TwistedIndex, folder: Path, target: Path) -> None:
    """
    Write the pages of every project in both forms, with gzip beside them, and link the files.

    Args:
        ours: Runs, and serves the folder.
        folder: A folder for each project, named normally.
        target: Becomes the root of the static server.
    """
    with Client(ours.port) as client:
        for place in [folder, *sorted(folder.iterdir())]:
            path = "/simple/" if place == folder else f"/simple/{place.name}/"
            there = target / path[1:]
            there.mkdir(parents=True)
            for name, accept in (("index.json", JSON), ("index.html", "text/html")):
                body = fetch(Ask(ours.port, path, {"Accept": accept})).body
                (there / name).write_bytes(body)
                (there / f"{name}.gz").write_bytes(gzip.compress(body, mtime=0))
            for file in sorted(place.glob("*.whl")):
                (there / file.name).symlink_to(file)
                metadata = client.get(f"{path}{file.name}.metadata").body
                (there / f"{file.name}.metadata").write_bytes(metadata)
