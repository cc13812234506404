"""The files of a page that a pin stands for: the best wheel for each target, else the sdist. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from twisted_index.resolution.targets import best_wheel, fits
from twisted_index.simple.names import normalize, version_sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
    from twisted_index.resolution.pins import Pin
    from twisted_index.resolution.targets import Target

_ONLY, _NO = "--only-binary", "--no-binary"
_ALL, _NONE = ":all:", ":none:"


class Formats:
    """
    Which projects are wanted as wheels only, and which as sdists only.

    Args:
        options: `--only-binary` and `--no-binary`, each followed by names, `:all:` or `:none:` with commas
            between them, as for pip; others are passed over.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._named: dict[str, dict[str, None]] = {_ONLY: {}, _NO: {}}
        for option, value in pairwise(options):
            if option in self._named:
                self._add(option, value.split(","))

    def _add(self, option: str, names: Iterable[str]) -> None:
        # The last option that names a project counts, and `:all:` overrides all before it.
        mine, other = self._named[option], self._named[_NO if option == _ONLY else _ONLY]
        for name in names:
            if name in (_ALL, _NONE):
                mine.clear()
                if name == _ALL:
                    other.clear()
                    mine[_ALL] = None
            else:
                other.pop(normalize(name), None)
                mine[normalize(name)] = None

    def words(self) -> list[str]:
        """Return the options for a resolver, one name each, which pip and uv read alike."""
        return [word for option, names in self._named.items() for name in names for word in (option, name)]

    def allow_sdist(self, project: str) -> bool:
        """Whether sdists of a project may be taken."""
        only, no = self._named[_ONLY], self._named[_NO]
        return project not in only and (project in no or _ALL not in only)

    def allow_wheel(self, project: str) -> bool:
        """Whether wheels of a project may be taken."""
        only, no = self._named[_ONLY], self._named[_NO]
        return project not in no and (project in only or _ALL not in no)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFiles:
    """
    What stands for a pin.

    Attributes:
        wheels: Wheels, each once.
        sdists: Sdists, each with the targets that build it.
        missing: A sentence about the targets that have no file.
    """

    wheels: tuple[RemoteFile, ...] = ()
    sdists: tuple[tuple[RemoteFile, tuple[Target, ...]], ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All of them."""
        return (*self.wheels, *(file for file, _targets in self.sdists))


def choose_files(
    pin: Pin,
    page: RemotePage | None,
    targets: Iterable[Target],
    formats: Formats,
    *,
    sdists: bool = False,
) -> PinnedFiles:
    """
    Choose files.

    Args:
        pin: The version.
        page: The page of its project; None if there is none.
        targets: Those for which the version was chosen.
        formats: Which kinds of files may be taken.
        sdists: Whether to take the sdist also where a wheel fits.
    """
    try:
        found = _of_pin(pin, page)
    except LookupError as error:
        return PinnedFiles(missing=(str(error),))
    wheels: dict[str, RemoteFile] = {}
    built: dict[str, tuple[RemoteFile, list[Target]]] = {}
    unfit = []
    for target in targets:
        wheel = _wheel(found, target) if formats.allow_wheel(pin.project) else None
        if wheel is not None:
            wheels[wheel.file.filename] = wheel
        sdist = _sdist(found, target) if formats.allow_sdist(pin.project) else None
        if sdist is not None and (sdists or wheel is None):
            built.setdefault(sdist.file.filename, (sdist, []))[1].append(target)
        if wheel is None and sdist is None:
            unfit.append(str(target))
    return PinnedFiles(
        wheels=tuple(wheels.values()),
        sdists=tuple((sdist, tuple(for_targets)) for sdist, for_targets in built.values()),
        missing=(f"{_name(pin)}: no file that may be taken fits {', '.join(unfit)}.",) if unfit else (),
    )


def _of_pin(pin: Pin, page: RemotePage | None) -> list[RemoteFile]:
    """
    Return the files of a page that a pin allows.

    Raises:
        LookupError: There are none; its text is a sentence.
    """
    if page is None:
        raise LookupError(f"{pin.project}: the index has no such project.")
    key = version_sort_key(pin.version)
    found = [remote for remote in page.files if version_sort_key(remote.file.version) == key]
    if not found:
        raise LookupError(f"{_name(pin)}: the index has no file of this version.")
    allowed = [remote for remote in found if not pin.hashes or pin.hashes & set(_hashes(remote))]
    if not allowed:
        raise LookupError(f"{_name(pin)}: no file of the index has one of the pinned digests.")
    return allowed


def _hashes(remote: RemoteFile) -> Iterator[str]:
    yield from (f"{name}:{digest}" for name, digest in remote.file.hashes.items())


def _wheel(files: Sequence[RemoteFile], target: Target) -> RemoteFile | None:
    best = best_wheel((remote.file for remote in files), target)
    return next((remote for remote in files if remote.file is best), None)


def _sdist(files: Sequence[RemoteFile], target: Target) -> RemoteFile | None:
    """Return the sdist of a version; of several a .tar.gz, which PEP 625 requires."""
    found = [
        remote for remote in files if not remote.file.filename.endswith(".whl") and fits(remote.file, target)
    ]
    return min(found, key=lambda remote: not remote.file.filename.endswith(".tar.gz"), default=None)


def _name(pin: Pin) -> str:
    return f"{pin.project} {pin.version}"
