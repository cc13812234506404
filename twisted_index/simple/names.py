"""
Names: of projects, of distribution files, and of versions in their order.

All of it is decided by text alone. Not for: what a file holds, or whether it exists.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_version
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator
    from typing import TypeAlias

    from twisted_index.simple.model import File

    #: Sorts versions; its parts are nobody's business.
    VersionKey: TypeAlias = tuple[int, Version | str]

# -- Project names ---------------------------------------------------------------------------------

# Core metadata specification, field "Name". The letters are spelled out: with IGNORECASE alone,
# U+212A (the Kelvin sign) would be a letter "k".
_PROJECT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def normalize(name: str) -> str:
    """Give the one spelling by which a project is looked up (PEP 503, "Normalized Names")."""
    # PEP 503 gives a regular expression; `replace` says the same in a third of the time.
    name = name.replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name.lower()


def is_valid_name(name: str) -> bool:
    """Tell whether a project may be called that (core metadata specification, field "Name")."""
    return _PROJECT_NAME.fullmatch(name) is not None


# -- Versions --------------------------------------------------------------------------------------


class _Release(NamedTuple):
    """
    What is known of a valid version.

    Attributes:
        normal: The PEP 440 normal form, with the zeros that it was written with.
        trimmed: The same for every spelling of one release: `1.0` and `1.0.0` both give `1`.
        version: For comparing.
    """

    normal: str
    trimmed: str
    version: Version


# Reading a version costs more than 10 µs and a project's files share theirs, so that most are asked
# for more than once. An entry holds about 1 KB.
@lru_cache(maxsize=4096)
def _release(version: str) -> _Release | None:
    """Read a version; None unless PEP 440 allows it."""
    try:
        read = Version(version)
        return _Release(str(read), canonicalize_version(read), read)
    # InvalidVersion is a ValueError, and so is Python's refusal of a number of 4,300 digits.
    except ValueError:
        return None


# Numbers without leading zeros between dots: in normal form already, and nearly every version there
# is. A scan of 100,000 names has more of them than the cache holds, and needs no comparing.
_PLAIN_RELEASE = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")


def _normal_form(version: str) -> str | None:
    """Give the PEP 440 normal form of a version; None if it is not valid."""
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        return version
    release = _release(version)
    return None if release is None else release.normal


def _trimmed(version: str) -> str:
    """Give what all spellings of a release have in common; what is not valid, as it is."""
    if _PLAIN_RELEASE.fullmatch(version) is not None:
        while version.endswith(".0"):
            version = version[:-2]
        return version
    release = _release(version)
    return version if release is None else release.trimmed


def version_key(version: str) -> VersionKey:
    """
    Give a key that sorts versions: the valid ones as PEP 440 orders them, then others as text.

    Spellings of one release (`1.0`, `1.0.0`) have equal keys.
    """
    release = _release(version)
    return (1, version) if release is None else (0, release.version)


def ordered_versions(versions: Iterable[str]) -> tuple[str, ...]:
    """
    Order versions, each release once (PEP 700: no duplicates, normal form preferred).

    Returns:
        Ascending by `version_key`. Of several spellings of a release the first is kept, in its
        normal form; what is no version by PEP 440 is kept as it is.
    """
    spellings: dict[str, str] = {}
    for version in versions:
        spellings.setdefault(_trimmed(version), _normal_form(version) or version)
    return tuple(sorted(spellings.values(), key=version_key))


def file_order(file: File) -> tuple[VersionKey, str]:
    """Give a key that sorts the files of a project page: by version, then by file name."""
    return version_key(file.version), file.filename


# -- Distribution files ----------------------------------------------------------------------------


class Kind(enum.Enum):
    """The kind of a distribution file, under the name that upload forms and legacy JSON use."""

    WHEEL = "bdist_wheel"
    SDIST = "sdist"


class InvalidFilename(ValueError):
    """
    A file name that no installer could use as a distribution of a project.

    Attributes:
        reason: One sentence: what is wrong with the name. It holds visible ASCII only.
        advice: One sentence: what to do about it.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """
    What the name of a distribution file says.

    Attributes:
        filename: As it was given.
        project: Normalized (PEP 503).
        version: In PEP 440 normal form.
        kind: Wheel or sdist.
        build: The wheel's build tag, without leading zeros; empty if there is none.
        tags: The wheel's compressed tag set with every part in one order, as in
            `py2.py3-none-any`, so that equal sets are equal text; empty for an sdist.
        extension: With its dot, as in `.tar.gz`.
    """

    filename: str
    project: str
    version: str
    kind: Kind
    build: str = ""
    tags: str = ""
    extension: str

    @property
    def identity(self) -> Hashable:
        """
        Give what two spellings of one file name have in common.

        `demo-1.0-py3-none-any.whl` and `Demo-1.0.0-py3-none-any.whl` are the same file to an
        installer. A .zip and a .tar.gz are not: each has its own digest in a lock file.
        """
        return (self.project, _trimmed(self.version), self.build, self.tags, self.extension)


#: File systems allow no more bytes in a name, which is ASCII here.
_LONGEST_NAME = 255

# All that a name, a version (with its epoch and local part) and tags can hold.
_ALPHABET = re.compile(r"[A-Za-z0-9._+!-]+")

_WHEEL_EXTENSION = ".whl"

# What both pip and uv install, of what they were seen to be offered.
_SDIST_EXTENSIONS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar")

# Binary formats that installers have given up, and what they were called.
_RETIRED_FORMATS = {
    ".egg": "an egg",
    ".exe": "a Windows installer",
    ".msi": "a Windows installer",
    ".rpm": "a system package",
    ".deb": "a system package",
    ".dmg": "a disk image",
}

# Archives that one installer or another cannot unpack.
_FOREIGN_ARCHIVES = (
    ".tar.zst",
    ".tar.z",
    ".tar.lz",
    ".tar.lzma",
    ".tar.lz4",
    ".tbz",
    ".tbz2",
    ".txz",
    ".tlz",
    ".7z",
    ".rar",
)

_NAME_ADVICE = "Build the file again with a current build tool, which names it rightly."


def parse_filename(filename: str, project: str | None = None) -> Distribution:
    """
    Read the name of a distribution file (binary and source distribution format specifications).

    The name of an sdist does not say where its project ends: `a-1-1.tar.gz` is `a-1` at `1`, or
    `a` at `1-1`, an old spelling of `1.post1`. A known project settles that.

    Args:
        filename: The last segment of a path or URL, decoded.
        project: The normalized name of the project whose file this should be, if that is known. It
            only settles the split: the result may name another project, and the caller decides
            what that means.

    Raises:
        InvalidFilename: No installer could use a file of that name.
    """
    if len(filename) > _LONGEST_NAME or _ALPHABET.fullmatch(filename) is None:
        raise _wrong_characters(filename)
    if filename.endswith(_WHEEL_EXTENSION):
        return _parse_wheel(filename)
    for extension in _SDIST_EXTENSIONS:
        if filename.endswith(extension):
            return _parse_sdist(filename, extension, project)
    raise _wrong_extension(filename)


def _wrong_characters(filename: str) -> InvalidFilename:
    advice = "Rename the file to what its build tool called it."
    if not filename:
        return InvalidFilename("The file name is empty.", advice)
    if len(filename) > _LONGEST_NAME:
        return InvalidFilename(f"The file name is longer than {_LONGEST_NAME} characters.", advice)
    if "/" in filename or "\\" in filename:
        what = "a slash"
    elif not filename.isascii():
        what = "characters beyond ASCII"
    elif not filename.isprintable():
        what = "control characters"
    elif " " in filename:
        what = "a blank"
    else:
        what = "characters that no project name, version or tag can hold"
    return InvalidFilename(f"The file name holds {what}.", advice)


def _wrong_extension(filename: str) -> InvalidFilename:
    lower = filename.lower()
    if lower.endswith((_WHEEL_EXTENSION, *_SDIST_EXTENSIONS)):
        return InvalidFilename(
            "The extension is in upper case, which installers do not recognize.",
            "Rename the file so that its extension is in lower case.",
        )
    if lower.endswith(_FOREIGN_ARCHIVES):
        return InvalidFilename(
            "This kind of archive cannot be unpacked by every installer.",
            "Pack the same content as a .tar.gz file.",
        )
    for extension, what in _RETIRED_FORMATS.items():
        if lower.endswith(extension):
            return InvalidFilename(
                f"This is {what} ({extension}), which installers do not take.",
                "Build a wheel of the project instead.",
            )
    return InvalidFilename(
        "This is neither a wheel nor an sdist.",
        f"Keep other files elsewhere; wheels end in {_WHEEL_EXTENSION}, sdists in .tar.gz or .zip.",
    )


def _wrong_version(version: str) -> InvalidFilename:
    return InvalidFilename(
        f'"{version}" is not a version that PEP 440 allows.',
        "Give the project a valid version and build the file again.",
    )


# -- Wheels


def _parse_wheel(filename: str) -> Distribution:
    parts = filename[: -len(_WHEEL_EXTENSION)].split("-")
    if len(parts) == 5:
        name, version, *tags = parts
        build = ""
    elif len(parts) == 6:
        name, version, build, *tags = parts
        build = _read_build(build)
    else:
        raise InvalidFilename(
            "A wheel's name has five or six parts between hyphens:"
            f" project, version, perhaps a build tag, and three tags; this one has {len(parts)}.",
            _NAME_ADVICE,
        )
    # A run of underscores is no spelling of a wheel's project: pip passes over such a file.
    if not is_valid_name(name) or "__" in name:
        raise InvalidFilename(f'"{name}" is not how a wheel spells a project\'s name.', _NAME_ADVICE)
    normal_version = _normal_form(version)
    if normal_version is None:
        raise _wrong_version(version)
    interpreters, abis, platforms = tags
    tag_set = _tag_set(interpreters, abis, platforms)
    if tag_set is None:
        raise InvalidFilename(f'"{"-".join(tags)}" are not the tags of a wheel.', _NAME_ADVICE)
    return Distribution(
        filename=filename,
        project=normalize(name),
        version=normal_version,
        kind=Kind.WHEEL,
        build=build,
        tags=tag_set,
        extension=_WHEEL_EXTENSION,
    )


# Binary distribution format, "File name convention": it starts with a digit, and sorts as a number
# and the text after it, so that leading zeros mean nothing.
_BUILD = re.compile(r"0*([0-9][A-Za-z0-9._+]*)")


def _read_build(build: str) -> str:
    match = _BUILD.fullmatch(build)
    if match is None:
        raise InvalidFilename(
            f'"{build}" stands where a wheel\'s build tag does, but does not start with a digit.',
            _NAME_ADVICE,
        )
    return match[1]


_TAGS = re.compile(r"[A-Za-z0-9_+]+(?:\.[A-Za-z0-9_+]+)*")


# A whole index knows a few thousand tag sets at most.
@lru_cache(maxsize=4096)
def _tag_set(interpreters: str, abis: str, platforms: str) -> str | None:
    """
    Put a compressed tag set (PEP 425) into one order; None if it is none.

    The tags that it stands for are all the combinations of its three parts. Two such products are
    equal exactly if their parts are, so that nothing has to be multiplied out: a hostile name of
    255 characters would stand for 70,000 tags. Any platform passes: new ones need no new release.
    """
    parts = (interpreters.lower(), abis.lower(), platforms.lower())
    if not all(_TAGS.fullmatch(part) for part in parts):
        return None
    if not all(tag.isidentifier() for tag in interpreters.split(".")):
        return None
    return "-".join(".".join(sorted(set(part.split(".")))) for part in parts)


# -- Sdists


def _parse_sdist(filename: str, extension: str, project: str | None) -> Distribution:
    stem = filename[: -len(extension)]
    split = _cut_by_project(stem, project) if project is not None else None
    split = split or _cut_by_likelihood(stem)
    if split is None:
        raise _wrong_sdist(stem)
    name, version = split
    return Distribution(
        filename=filename,
        project=normalize(name),
        version=version,
        kind=Kind.SDIST,
        extension=extension,
    )


def _hyphens(stem: str) -> Iterator[int]:
    """Give the positions of all hyphens, the last one first."""
    at = stem.rfind("-")
    while at != -1:
        yield at
        at = stem.rfind("-", 0, at)


def _cut_by_project(stem: str, project: str) -> tuple[str, str] | None:
    """Cut after the project: its name, and the version in normal form; None if that fails."""
    for at in _hyphens(stem):
        if normalize(stem[:at]) == project:
            version = _normal_form(stem[at + 1 :])
            return None if version is None else (project, version)
    return None


def _cut_by_likelihood(stem: str) -> tuple[str, str] | None:
    """
    Cut at the last hyphen that leaves a name and a version, as PEP 625 allows a single one.

    Older names have hyphens in the version too. `demo-1.0-beta1` cannot be cut at its last hyphen.
    `demo-1.0-1` can, but a post-release is far more likely than a project called `demo-1.0`.

    Returns:
        The name as it is spelled, and the version in normal form.
    """
    for at in _hyphens(stem):
        name = stem[:at]
        version = _version_beside_words(stem[at + 1 :])
        if version is not None and is_valid_name(name):
            old_post_release = _cut_post_release(stem, name) if version.isdigit() else None
            return old_post_release or (name, version)
    return None


def _cut_post_release(stem: str, name: str) -> tuple[str, str] | None:
    """Cut one hyphen earlier than after `name`, if `name` itself ends in a dotted version."""
    name, _, version = name.rpartition("-")
    if "." not in version or not is_valid_name(name) or _version_beside_words(version) is None:
        return None
    post_release = _normal_form(stem[len(name) + 1 :])
    return None if post_release is None else (name, post_release)


def _version_beside_words(text: str) -> str | None:
    # Most of what is tried at a hyphen is words; they should not push versions out of the cache.
    return _normal_form(text) if text[:1].isdigit() or text[:1] in ("v", "V") else None


def _wrong_sdist(stem: str) -> InvalidFilename:
    name, hyphen, version = stem.rpartition("-")
    if not hyphen:
        return InvalidFilename(
            "The file name has no hyphen, so it names no version.",
            "Name the file after its project and version, as in name-1.0.tar.gz.",
        )
    if _normal_form(version) is None:
        return _wrong_version(version)
    return InvalidFilename(f'"{name}" is not a valid project name.', _NAME_ADVICE)


# -- Entries of a folder ---------------------------------------------------------------------------

# What browsers, download tools, editors and copying programs end an unfinished file's name with.
_TEMPORARY_SUFFIXES = (
    ".part",
    ".partial",
    ".tmp",
    ".temp",
    ".crdownload",
    ".download",
    ".opdownload",
    ".filepart",
    ".aria2",
    ".swp",
    "~",
)

# A file's companions, and the markers that lie beside it.
_COMPANION_SUFFIXES = (".metadata", ".asc", ".provenance", ".yanked", ".deleted")


def is_temporary(entry: str) -> bool:
    """Tell whether the name of a folder's entry says that it is hidden or not finished yet."""
    return entry.startswith((".", "~", "#")) or entry.lower().endswith(_TEMPORARY_SUFFIXES)


def _one_of(suffixes: Iterable[str]) -> str:
    return "|".join(re.escape(suffix) for suffix in suffixes)


# What a copying program puts before a name: a dot (rsync), "._" (macOS), "~" or a word (Syncthing).
_BEFORE = r"(?:\.syncthing\.|~syncthing~|[^A-Za-z0-9]*+)"

# These hold Python distributions and little else: their names claim without a version too.
_SPEAKING_EXTENSIONS = (
    _WHEEL_EXTENSION,
    ".egg",
    ".tgz",
    *(suffix for suffix in (*_SDIST_EXTENSIONS, *_FOREIGN_ARCHIVES) if suffix.startswith(".tar.")),
    ".tar",
)

# An extension may be followed by anything that is not a part of it: a companion's suffix, a
# temporary one, rsync's ".XXXXXX", ".sha256", ".1", " (copy)". The last extension counts.
_DAMAGED = re.compile(
    rf"{_BEFORE}(?P<stem>.+)"
    rf"(?:(?P<speaking>{_one_of(_SPEAKING_EXTENSIONS)})"
    rf"|(?P<other>{_one_of((*_SDIST_EXTENSIONS, *_FOREIGN_ARCHIVES, *_RETIRED_FORMATS))}))"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE | re.DOTALL,
)

_BEFORE_VERSION = re.compile(r"(.+?)-v?[0-9]", re.IGNORECASE | re.DOTALL)


def claimed_project(entry: str) -> str | None:
    """
    Tell for which project an entry of a flat folder is named, whether it can be listed or not.

    A name that is claimed is never looked for upstream, so that a private project does not turn
    into a stranger's while its wheel is being copied, is damaged, or has left a marker behind. In
    doubt an archive claims; a file that is no archive, or a word without a version, does not.

    Args:
        entry: Any file name, decoded in any way.

    Returns:
        The project's normalized name; None if the entry is named for none.
    """
    try:
        return parse_filename(entry).project
    except InvalidFilename:
        pass
    damaged = _DAMAGED.match(entry)
    if damaged is None:
        return _project_of_bare(entry)
    extension = damaged["speaking"] or damaged["other"]
    try:
        return parse_filename(damaged["stem"] + extension.lower()).project
    except InvalidFilename:
        return _project_of_damaged(damaged["stem"], (damaged["speaking"] or "").lower())


def _project_of_bare(entry: str) -> str | None:
    """Find the project in a name without an extension, if a suffix says that it was a file's."""
    lower = entry.lower()
    for suffix in (*_COMPANION_SUFFIXES, *_TEMPORARY_SUFFIXES):
        if lower.endswith(suffix):
            split = _cut_by_likelihood(entry[: -len(suffix)].lstrip("."))
            return None if split is None else normalize(split[0])
    return None


def _project_of_damaged(stem: str, speaking: str) -> str | None:
    """
    Find the project in a name that cannot be read.

    Args:
        stem: The name without its extension.
        speaking: The extension, if it is one that claims without a version; else empty.
    """
    legible = _ALPHABET.match(stem)
    if legible is None:
        return None
    if speaking != _WHEEL_EXTENSION:
        split = _cut_by_likelihood(legible[0])
        if split is not None:
            return normalize(split[0])
    before_version = _BEFORE_VERSION.match(legible[0])
    if before_version is not None:
        return _as_project(before_version[1])
    if speaking == _WHEEL_EXTENSION:
        return _as_project(legible[0].partition("-")[0])
    return _as_project(legible[0].rpartition("-")[0]) if speaking else None


def _as_project(name: str) -> str | None:
    name = name.strip("-_.")
    return normalize(name) if is_valid_name(name) else None
