"""
The proof of a folder: for a target, is all here that requirements need? Blocking.

uv resolves them from the files of the folder alone. What it would have to build for that is judged by its
metadata instead, as the target's compilers are not here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from twisted_index.resolution.dependencies import find_missing
from twisted_index.resolution.local_projects import LocalProjects
from twisted_index.resolution.targets import best_wheel
from twisted_index.resolution.uv import IndexAccess, Unresolvable, compile_pins, find_uv
from twisted_index.simple.names import version_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted_index.resolution.pins import Pin
    from twisted_index.resolution.targets import Target


def unmet(
    root: bytes, target: Target, pins: Iterable[Pin], lines: Sequence[str], options: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    Find what a target lacks.

    Args:
        root: The folder.
        target: The Python and the platform.
        pins: The versions that were chosen for it.
        lines: The requirements that they were chosen for; pins themselves if they were locked.
        options: Of the resolver.

    Returns:
        What is missing, in the words of uv or a sentence each; empty if nothing is.
    """
    pins, projects, uv = tuple(pins), LocalProjects([root]), find_uv()
    wheels = [_folder_of_wheel(projects, pin, target) for pin in pins]
    if uv is None or None in wheels:
        wanted = [Requirement(f"{pin.project}=={pin.version}") for pin in pins]
        return tuple(map(str, find_missing(projects, [target], wanted)))
    folders = tuple(sorted({os.fsdecode(folder) for folder in wheels if folder is not None}))
    index = IndexAccess(urls=(), folders=folders, environ={})
    try:
        compile_pins(uv, lines, target, index, options=[*options, "--only-binary", ":all:"])
    except Unresolvable as error:
        return (error.message,)
    return ()


def _folder_of_wheel(projects: LocalProjects, pin: Pin, target: Target) -> bytes | None:
    """Return where the wheel of a pin lies; None if there is none for the target."""
    key = version_sort_key(pin.version)
    here = [
        local for local in projects.files(pin.project) if version_sort_key(local.distribution.version) == key
    ]
    best = best_wheel((local.file for local in here), target)
    return next((os.path.dirname(local.path) for local in here if local.file is best), None)
