"""
Versions for a target of what requirements ask for, and of what builds sdists. Blocking.

Lock files and hashed requirements are pins already; all else is chosen by uv, or by pip for this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from twisted_index.resolution.lock_files import is_lock_file, read_lock_file
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.pip_resolver import pip_pins
from twisted_index.resolution.requirements_files import Requirements, read_requirements
from twisted_index.resolution.targets import holds
from twisted_index.resolution.uv import compile_pins, find_uv, require_uv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted_index.resolution.lock_files import LockFile
    from twisted_index.resolution.targets import Target
    from twisted_index.resolution.uv import IndexAccess

#: Up to which setuptools builds wheels by the project `wheel`, without saying so in any file.
_SETUPTOOLS_WITHOUT_WHEEL = Version("70.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    What is requested.

    Attributes:
        requirements: Of words and files of requirements.
        locks: Lock files.
    """

    requirements: Requirements
    locks: tuple[LockFile, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is requested."""
        return not self.requirements.wanted and not self.locks

    @property
    def left_out(self) -> list[str]:
        """A sentence for each thing asked for that no index can serve."""
        return [*self.requirements.left_out, *(each for lock in self.locks for each in lock.left_out())]

    def lines(self, pins: Iterable[Pin]) -> list[str]:
        """Return the requirements for which pins were chosen, and what was pinned already as pins."""
        requirements = self.requirements
        locked = pins if self.locks or requirements.is_locked else ()
        return [
            *(str(one.requirement) for one in requirements.wanted),
            *(f"{pin.project}=={pin.version}" for pin in locked),
        ]


def read_wanted(words: Sequence[str], files: Sequence[str], constraint_files: Sequence[str]) -> Wanted:
    """
    Read what is requested.

    Args:
        words: Requirements.
        files: Files of requirements, and lock files, known by their names.
        constraint_files: Files of constraints.

    Raises:
        ConfigurationError: A file cannot be read or understood.
    """
    locks = [path for path in files if is_lock_file(path)]
    others = [path for path in files if path not in locks]
    return Wanted(
        requirements=read_requirements(words, others, constraint_files),
        locks=tuple(map(read_lock_file, locks)),
    )


def check_resolver(wanted: Wanted, targets: Sequence[Target]) -> None:
    """
    Refuse targets for which nothing here can resolve.

    Raises:
        ConfigurationError: A target is foreign, and there is no uv.
    """
    foreign = [target for target in targets if not target.is_own]
    if foreign and wanted.requirements.wanted and not wanted.requirements.is_locked:
        require_uv(f"To resolve for {foreign[0]}, which is not this one, twisted-index")


def resolve(
    wanted: Wanted, target: Target, index: IndexAccess, options: Sequence[str] = ()
) -> tuple[Pin, ...]:
    """
    Choose versions for a target.

    Args:
        wanted: What is requested.
        target: For which markers and tags are evaluated.
        index: The only index that is read.
        options: Of pip that uv has too: `--only-binary`, `--no-binary`, `--pre`; those of files included.

    Raises:
        Unresolvable: No versions fit together.
        ConfigurationError: There is no resolver, or a lock file is not for this target.
    """
    locked = [pin for lock in wanted.locks for pin in lock.pins(target)]
    requirements = wanted.requirements
    if requirements.is_locked:
        return tuple(dict.fromkeys([*locked, *_hashed_pins(requirements, target)]))
    if not requirements.wanted:
        return tuple(dict.fromkeys(locked))
    lines = [str(one.requirement) for one in requirements.wanted]
    chosen = choose_versions(lines, target, index, requirements.constraints, options)
    return tuple(dict.fromkeys([*locked, *_with_hashes(chosen, requirements)]))


def choose_versions(
    lines: Sequence[str],
    target: Target,
    index: IndexAccess,
    constraints: Sequence[str] = (),
    options: Sequence[str] = (),
) -> tuple[Pin, ...]:
    """Choose versions of requirements for a target; see `resolve`."""
    uv = find_uv()
    if uv is None and target.is_own:
        return pip_pins(lines, index, constraints=constraints, options=options)
    uv = uv or require_uv(f"To resolve for {target}, which is not this one, twisted-index")
    return compile_pins(uv, lines, target, index, constraints=constraints, options=options)


def choose_build(lines: Sequence[str], target: Target, index: IndexAccess) -> tuple[Pin, ...]:
    """Choose versions of what builds an sdist (PEP 518), with what old backends need besides."""
    pins = choose_versions(lines, target, index)
    if any(pin.project == "setuptools" and Version(pin.version) < _SETUPTOOLS_WITHOUT_WHEEL for pin in pins):
        return choose_versions([*lines, "wheel"], target, index)
    return pins


def _hashed_pins(requirements: Requirements, target: Target) -> Iterator[Pin]:
    for one in requirements.wanted:
        if one.pinned_version is not None and holds(one.requirement.marker, target):
            yield Pin(project=one.project, version=one.pinned_version, hashes=one.hashes)


def _with_hashes(pins: Sequence[Pin], requirements: Requirements) -> Iterator[Pin]:
    """Restrict pins to the files whose hashes a requirement names."""
    hashes = {one.project: one.hashes for one in requirements.wanted if one.hashes}
    yield from (replace(pin, hashes=hashes.get(pin.project, frozenset())) for pin in pins)
