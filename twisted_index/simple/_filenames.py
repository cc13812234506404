"""The names of distribution files. Public through `names`."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted_index.simple._project_names import is_valid_name, normalize
from twisted_index.simple._versions import canonical_version, normal_form

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator


class DistributionType(enum.Enum):
    """The kind of a distribution file, under the name that upload forms and legacy JSON use."""

    WHEEL = "bdist_wheel"
    SDIST = "sdist"


class InvalidFilename(ValueError):
    """
    A file name that no installer could use as a distribution of a project.

    Attributes:
        reason: One sentence: what is wrong with the name. In visible ASCII only.
        advice: One sentence: what to do about it.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """
    The parsed name of a distribution file.

    Attributes:
        filename: As passed to the parser.
        project: Normalized (PEP 503).
        version: In PEP 440 normal form.
        kind: Wheel or sdist.
        build: The wheel's build tag, without leading zeros; empty if there is none.
        tags: The wheel's compressed tag set with each part sorted, as in `py2.py3-none-any`, so that
            equal sets are equal text; empty for an sdist.
        extension: With its dot, as in `.tar.gz`.
    """

    filename: str
    project: str
    version: str
    kind: DistributionType
    build: str = ""
    tags: str = ""
    extension: str

    @property
    def identity(self) -> Hashable:
        """
        Return the key that is equal for all spellings of one file name.

        `demo-1.0-py3-none-any.whl` and `Demo-1.0.0-py3-none-any.whl` are the same file to an
        installer. A .zip and a .tar.gz are not: each has its own digest in a lock file.
        """
        return (self.project, canonical_version(self.version), self.build, self.tags, self.extension)


#: The limit of file systems in bytes; valid names are ASCII.
LONGEST_NAME = 255

# The characters of names, versions (with epoch and local part) and tags.
ALPHABET = re.compile(r"[A-Za-z0-9._+!-]+")

WHEEL_EXTENSION = ".whl"

# Extensions that pip and uv support, or did when the files were made: some now require .tar.gz or .zip
# (PEP 625).
SDIST_EXTENSIONS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar")

# Binary formats that installers no longer support, and their names in messages.
RETIRED_FORMATS = {
    ".egg": "an egg",
    ".exe": "a Windows installer",
    ".msi": "a Windows installer",
    ".rpm": "a system package",
    ".deb": "a system package",
    ".dmg": "a disk image",
}

# Archives that some installers cannot unpack.
UNSUPPORTED_ARCHIVES = (
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


def one_of(extensions: Iterable[str]) -> str:
    """Return a regular expression that matches any of the extensions."""
    return "|".join(map(re.escape, extensions))


_NAME_ADVICE = "Build the file again with a current build tool, which names it correctly."


def read_filename(filename: str, project: str | None = None) -> Distribution:
    """
    Parse the name of a distribution file.

    Unlike `parse_filename`, without advice about invalid names: most other files in a folder are not
    distributions.

    Args:
        filename: As for `parse_filename`.
        project: As for `parse_filename`.

    Raises:
        InvalidFilename: No installer could use a file of this name.
    """
    if len(filename) > LONGEST_NAME or ALPHABET.fullmatch(filename) is None:
        raise _wrong_characters(filename)
    if filename.endswith(WHEEL_EXTENSION):
        return _parse_wheel(filename)
    for extension in SDIST_EXTENSIONS:
        if filename.endswith(extension):
            return _parse_sdist(filename, extension, project)
    raise _wrong_extension(filename)


def _wrong_characters(filename: str) -> InvalidFilename:
    advice = "Rename the file to what its build tool called it."
    if not filename:
        return InvalidFilename("The file name is empty.", advice)
    if len(filename) > LONGEST_NAME:
        return InvalidFilename(f"The file name is longer than {LONGEST_NAME} characters.", advice)
    if "/" in filename or "\\" in filename:
        what = "a slash"
    elif not filename.isascii():
        what = "characters beyond ASCII"
    elif not filename.isprintable():
        what = "control characters"
    elif " " in filename:
        what = "a space"
    else:
        what = "characters that no project name, version or tag can contain"
    return InvalidFilename(f"The file name contains {what}.", advice)


def _wrong_extension(filename: str) -> InvalidFilename:
    lower = filename.lower()
    if lower.endswith((WHEEL_EXTENSION, *SDIST_EXTENSIONS)):
        return InvalidFilename(
            "The extension is in upper case, which installers do not recognize.",
            "Rename the file so that its extension is in lower case.",
        )
    if lower.endswith(UNSUPPORTED_ARCHIVES):
        return InvalidFilename(
            "This kind of archive cannot be unpacked by every installer.",
            "Pack the same content as a .tar.gz file.",
        )
    for extension, what in RETIRED_FORMATS.items():
        if lower.endswith(extension):
            return InvalidFilename(
                f"This is {what} ({extension}), which installers do not support.",
                "Build a wheel of the project instead.",
            )
    return InvalidFilename(
        "This is neither a wheel nor an sdist.",
        f"Keep other files elsewhere; wheels end in {WHEEL_EXTENSION}, sdists in .tar.gz or .zip.",
    )


def _wrong_version(version: str) -> InvalidFilename:
    return InvalidFilename(
        f'"{version}" is not a version that PEP 440 allows.',
        "Give the project a valid version and build the file again.",
    )


# -- Wheels


def _parse_wheel(filename: str) -> Distribution:
    parts = filename[: -len(WHEEL_EXTENSION)].split("-")
    if len(parts) == 5:
        name, version, *tags = parts
        build = ""
    elif len(parts) == 6:
        name, version, build, *tags = parts
        build = _read_build(build)
    else:
        raise InvalidFilename(
            "A wheel's name has five or six parts between hyphens: project, version, an optional build tag,"
            f" and three tags; this one has {len(parts)}.",
            _NAME_ADVICE,
        )
    # A wheel's project name has no run of underscores: pip ignores such a file.
    if not is_valid_name(name) or "__" in name:
        raise InvalidFilename(f'"{name}" is not how a wheel spells a project\'s name.', _NAME_ADVICE)
    normal_version = normal_form(version)
    if normal_version is None:
        raise _wrong_version(version)
    interpreters, abis, platforms = tags
    tag_set = _tag_set(interpreters, abis, platforms)
    if tag_set is None:
        raise InvalidFilename(f'"{"-".join(tags)}" are not valid tags of a wheel.', _NAME_ADVICE)
    return Distribution(
        filename=filename,
        project=normalize(name),
        version=normal_version,
        kind=DistributionType.WHEEL,
        build=build,
        tags=tag_set,
        extension=WHEEL_EXTENSION,
    )


# Binary distribution format, "File name convention": a build tag starts with a digit, and sorts as a
# number and the text after it, so leading zeros have no meaning.
_BUILD = re.compile(r"0*([0-9][A-Za-z0-9._+]*)")


def _read_build(build: str) -> str:
    match = _BUILD.fullmatch(build)
    if match is None:
        raise InvalidFilename(
            f'"{build}" is in place of a wheel\'s build tag, but does not start with a digit.',
            _NAME_ADVICE,
        )
    return match[1]


_TAGS = re.compile(r"[A-Za-z0-9_+]+(?:\.[A-Za-z0-9_+]+)*")


# A whole index has a few thousand tag sets at most.
@lru_cache(maxsize=4096)
def _tag_set(interpreters: str, abis: str, platforms: str) -> str | None:
    """
    Sort the parts of a compressed tag set (PEP 425); None if it is invalid.

    Its tags are all combinations of its three parts. Two such products are equal exactly if their parts
    are, so they need not be expanded: a hostile name of 255 characters would have 70,000 tags. Any
    platform is accepted: new ones need no new release.
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
    split = _split_by_project(stem, project) if project is not None else None
    split = split or split_sdist_stem(stem)
    if split is None:
        raise _wrong_sdist(stem)
    name, version = split
    return Distribution(
        filename=filename,
        project=normalize(name),
        version=version,
        kind=DistributionType.SDIST,
        extension=extension,
    )


def _hyphens(stem: str) -> Iterator[int]:
    """Yield the positions of all hyphens, the last one first."""
    at = stem.rfind("-")
    while at != -1:
        yield at
        at = stem.rfind("-", 0, at)


def _split_by_project(stem: str, project: str) -> tuple[str, str] | None:
    """Split after the project: its name, and the version in normal form; None if that fails."""
    for at in _hyphens(stem):
        if normalize(stem[:at]) == project:
            version = normal_form(stem[at + 1 :])
            return None if version is None else (project, version)
    return None


def split_sdist_stem(stem: str) -> tuple[str, str] | None:
    """
    Split at the last hyphen that leaves a valid name and version; PEP 625 allows a single hyphen.

    Older names have hyphens in the version too. `demo-1.0-beta1` cannot be split at its last hyphen.
    `demo-1.0-1` can, but a post-release is far more likely than a project called `demo-1.0`.

    Returns:
        The name as spelled, and the version in normal form.
    """
    for at in _hyphens(stem):
        name = stem[:at]
        version = _version_or_word(stem[at + 1 :])
        if version is not None and is_valid_name(name):
            old_post_release = _split_post_release(stem, name) if version.isdigit() else None
            return old_post_release or (name, version)
    return None


def _split_post_release(stem: str, name: str) -> tuple[str, str] | None:
    """Split one hyphen earlier than after `name`, if `name` itself ends in a dotted version."""
    name, _, version = name.rpartition("-")
    if "." not in version or not is_valid_name(name) or _version_or_word(version) is None:
        return None
    post_release = normal_form(stem[len(name) + 1 :])
    return None if post_release is None else (name, post_release)


def _version_or_word(text: str) -> str | None:
    # Most texts after a hyphen are words; they should not evict versions from the cache.
    return normal_form(text) if text[:1].isdigit() or text[:1] in ("v", "V") else None


def _wrong_sdist(stem: str) -> InvalidFilename:
    name, hyphen, version = stem.rpartition("-")
    if not hyphen:
        return InvalidFilename(
            "The file name has no hyphen, so it names no version.",
            "Name an sdist after its project and version, as in name-1.0.tar.gz; unpack a zip of wheels.",
        )
    if normal_form(version) is None:
        return _wrong_version(version)
    return InvalidFilename(f'"{name}" is not a valid project name.', _NAME_ADVICE)
