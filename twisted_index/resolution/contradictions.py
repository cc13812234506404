"""
Which requirements a folder cannot satisfy although nothing is missing, as versions contradict each other.

uv says it. It reads a folder of what is here: links to wheels, and for each sdist a wheel of nothing but its
metadata, so that nothing is built. Blocking.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from itertools import islice
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from twisted_index.resolution.dependencies import Missing, find_missing, in_order, is_pinned
from twisted_index.resolution.file_needs import UnknownNeeds
from twisted_index.resolution.uv import IndexAccess, Unresolvable, compile_pins
from twisted_index.simple.names import DistributionType, canonical_version, normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted_index.resolution.file_needs import Needs
    from twisted_index.resolution.local_projects import LocalFile, LocalProjects
    from twisted_index.resolution.targets import Target


def find_contradictions(
    uv: str, projects: LocalProjects, targets: Iterable[Target], wanted: Iterable[Requirement] | None = None
) -> tuple[Missing, ...]:
    """
    Find requirements that uv cannot resolve from what is here, each on its own, though nothing is missing.

    Args:
        uv: The path of uv.
        projects: What is here.
        targets: The Pythons and platforms.
        wanted: As for `find_missing`.

    Raises:
        Unavailable: A root cannot be read.
    """
    asked = list(map(Requirement, projects.names()) if wanted is None else wanted)
    return tuple(sorted(one for target in targets for one in _find(uv, projects, target, asked)))


def _find(uv: str, projects: LocalProjects, target: Target, asked: list[Requirement]) -> list[Missing]:
    roots = [one for one in asked if not find_missing(projects, [target], [one])]
    with tempfile.TemporaryDirectory(prefix="twisted-index-") as folder:
        _stage(folder, projects, target, roots)
        return list(_unresolved(uv, roots, target, IndexAccess(urls=(), folders=(folder,))))


def _unresolved(
    uv: str, roots: Sequence[Requirement], target: Target, index: IndexAccess
) -> Iterator[Missing]:
    """Resolve requirements together, which proves each of them; if that fails, each half of them."""
    if not roots:
        return
    try:
        compile_pins(uv, list(map(str, roots)), target, index, options=["--no-build"])
    except Unresolvable as error:
        if len(roots) > 1:
            middle = len(roots) // 2
            for half in (roots[:middle], roots[middle:]):
                yield from _unresolved(uv, half, target, index)
            return
        (root,) = roots
        said = " ".join(error.message.partition("\n")[2].split())
        reason = said.partition("cause: ")[2] or said
        yield Missing(project=normalize(root.name), requirement=str(root), target=target, reason=reason)


# -- The folder for uv


def _stage(folder: str, projects: LocalProjects, target: Target, roots: Iterable[Requirement]) -> None:
    """Put all that may be needed for requirements into a folder."""
    names = [normalize(root.name) for root in roots]
    pinned = {normalize(root.name) for root in roots if is_pinned(root.specifier)}
    seen = set(names)
    while names:
        name = names.pop()
        for local in _best(projects.files(name), target, with_yanked=name in pinned):
            try:
                needs = projects.needs(local)
            except UnknownNeeds:
                # Installers pass it over too.
                continue
            _put(folder, local, needs)
            more = {normalize(requirement.name) for requirement in needs.requires} - seen
            seen |= more
            names += more


def _best(files: Iterable[LocalFile], target: Target, *, with_yanked: bool) -> Iterator[LocalFile]:
    """Yield the best file of each version that fits a target."""
    versions: dict[str, list[LocalFile]] = {}
    for local in files:
        if with_yanked or local.file.yanked is None:
            versions.setdefault(canonical_version(local.distribution.version), []).append(local)
    for of_version in versions.values():
        yield from islice(in_order(of_version, target), 1)


def _put(folder: str, local: LocalFile, needs: Needs) -> None:
    """Link a wheel; for an sdist, write a wheel that has its metadata and nothing else."""
    distribution = local.distribution
    if distribution.kind is DistributionType.WHEEL:
        os.symlink(local.path, os.path.join(os.fsencode(folder), os.fsencode(distribution.filename)))
        return
    stem = f"{distribution.project.replace('-', '_')}-{distribution.version}"
    lines = ["Metadata-Version: 2.1", f"Name: {distribution.project}", f"Version: {distribution.version}"]
    lines += [f"Requires-Python: {needs.python}"] if needs.python else []
    lines += [f"Provides-Extra: {extra}" for extra in needs.extras]
    lines += [f"Requires-Dist: {requirement}" for requirement in needs.requires]
    with zipfile.ZipFile(os.path.join(folder, f"{stem}-py3-none-any.whl"), "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "".join(f"{line}\n" for line in lines))
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
