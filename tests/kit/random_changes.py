"""Changes of a root at random, of every kind that a user makes, and what each page has to say after them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from twisted_index.simple.names import normalize
from twisted_index.testing import make_wheel

PROJECTS = tuple(f"alpha-{number}" for number in range(6))


class RandomChanges:
    """
    Changes projects, one step at a time, and reads from the disk what is there.

    Args:
        root: A folder that is served.
        aside: A folder of the same file system that is not served.
        random: Chooses.
        in_place: Whether to rewrite files in place too.
    """

    def __init__(self, root: Path, aside: Path, random: Random, *, in_place: bool) -> None:
        self._root = root
        self._aside = aside
        self._random = random
        self._made = 0
        self._kinds: list[Callable[[str], bool]] = [
            self._add,
            self._write,
            self._remove,
            self._rename,
            self._replace,
            self._recreate,
            self._move,
            self._toggle_folder,
            self._respell_folder,
            self._swap_link,
        ]
        if in_place:
            self._kinds.append(self._rewrite)

    def make(self) -> tuple[str, str]:
        """Make one change; give its project, and its kind."""
        while True:
            project, kind = self._random.choice(PROJECTS), self._random.choice(self._kinds)
            if kind(project):
                return project, kind.__name__

    def expected(self, project: str) -> dict[str, str]:
        """Give the digest of each file that the disk holds for a project."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self._files(project)}

    def _folders(self, project: str) -> list[Path]:
        return [path for path in self._root.iterdir() if path.is_dir() and normalize(path.name) == project]

    def _flat_files(self, project: str) -> list[Path]:
        return sorted(self._root.glob(f"{project.replace('-', '_')}-*.whl"))

    def _files(self, project: str) -> list[Path]:
        in_folders = [path for folder in self._folders(project) for path in sorted(folder.glob("*.whl"))]
        return self._flat_files(project) + in_folders

    def _new(self, project: str, version: str | None = None) -> tuple[str, bytes]:
        self._made += 1
        ballast = self._random.randbytes(self._made % 997 + 1)
        wheel = make_wheel(project, version or f"{self._made}.0", files={"data": ballast}, compress=False)
        return wheel.filename, wheel.content

    def _home(self, project: str) -> Path:
        home = self._random.choice([self._root, *self._folders(project), self._root / project])
        home.mkdir(exist_ok=True)
        return home

    def _any_file(self, project: str) -> Path | None:
        files = self._files(project)
        return self._random.choice(files) if files else None

    def _put(self, content: bytes, path: Path) -> None:
        part = self._aside / "part"
        part.write_bytes(content)
        part.replace(path)

    def _add(self, project: str) -> bool:
        name, content = self._new(project)
        self._put(content, self._home(project) / name)
        return True

    def _write(self, project: str) -> bool:
        name, content = self._new(project)
        (self._home(project) / name).write_bytes(content)
        return True

    def _remove(self, project: str) -> bool:
        path = self._any_file(project)
        if path is not None:
            path.unlink()
        return path is not None

    def _rename(self, project: str) -> bool:
        path = self._any_file(project)
        if path is None:
            return False
        self._made += 1
        name, version = path.name.split("-")[:2]
        path.rename(path.with_name(f"{name}-{version}-{self._made}-py3-none-any.whl"))
        return True

    def _replace(self, project: str) -> bool:
        return self._with_other_bytes(project, self._put)

    def _recreate(self, project: str) -> bool:
        def recreate(content: bytes, path: Path) -> None:
            path.unlink()
            path.write_bytes(content)

        return self._with_other_bytes(project, recreate)

    def _rewrite(self, project: str) -> bool:
        return self._with_other_bytes(project, lambda content, path: path.write_bytes(content))

    def _with_other_bytes(self, project: str, put: Callable[[bytes, Path], object]) -> bool:
        path = self._any_file(project)
        if path is not None:
            put(self._new(project, path.name.split("-")[1])[1], path)
        return path is not None

    def _move(self, project: str) -> bool:
        path = self._any_file(project)
        if path is not None:
            path.rename(self._home(project) / path.name)
        return path is not None

    def _toggle_folder(self, project: str) -> bool:
        here, there = self._root / project, self._aside / project
        if there.exists() and not os.path.lexists(here):
            there.rename(here)
        elif here.is_dir() and not here.is_symlink():
            shutil.rmtree(there, ignore_errors=True)
            here.rename(there)
        else:
            return False
        return True

    def _respell_folder(self, project: str) -> bool:
        here, other = self._root / project, self._root / project.replace("-", "_")
        if not here.is_dir() or here.is_symlink() or other.exists():
            return False
        here.rename(other)
        return True

    def _swap_link(self, project: str) -> bool:
        here, link = self._root / project, self._aside / "link"
        if here.exists() and not here.is_symlink():
            return False
        name, content = self._new(project)
        target = self._aside / f"target-{self._made}"
        target.mkdir()
        (target / name).write_bytes(content)
        link.symlink_to(target)
        link.replace(here)
        return True
