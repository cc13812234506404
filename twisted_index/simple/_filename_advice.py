"""
Advice about file names that are not those of distributions. Public through `names`.

`_filenames` reports what the grammar forbids. This module guesses the origin of the name: a browser, an
old build tool, another package manager.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from twisted_index.simple._filenames import (
    ALPHABET,
    LONGEST_NAME,
    RETIRED_FORMATS,
    SDIST_EXTENSIONS,
    UNSUPPORTED_ARCHIVES,
    WHEEL_EXTENSION,
    Distribution,
    InvalidFilename,
    one_of,
    read_filename,
)
from twisted_index.simple._name_claims import UNFINISHED_SUFFIXES
from twisted_index.simple._versions import normal_form

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUILD_INSTEAD = "Build a wheel or an sdist of the project instead."


def parse_filename(filename: str, project: str | None = None) -> Distribution:
    """
    Parse the name of a distribution file (binary and source distribution format specifications).

    The name of an sdist does not show where its project ends: `a-1-1.tar.gz` is `a-1` at `1`, or
    `a` at `1-1`, an old spelling of `1.post1`. A known project resolves that.

    Args:
        filename: The last segment of a path or URL, decoded.
        project: The normalized name of the expected project, if known. It only resolves the split: the
            result may name another project, which the caller handles.

    Raises:
        InvalidFilename: No installer could use a file of this name.
    """
    try:
        return read_filename(filename, project)
    except InvalidFilename:
        explained = _explain(filename) if len(filename) <= LONGEST_NAME else None
        if explained is None:
            raise
    raise explained


def looks_like_distribution(filename: str) -> bool:
    """
    Whether a file of this name seems to be a distribution, correctly named or not.

    Companion files of other tools (digests, signatures, attestations) are not.
    """
    return _LIKELY.search(filename) is not None


def is_unfinished_download(filename: str) -> bool:
    """Whether a browser names a distribution like this until it has all of it, or for ever if it gave up."""
    return _UNFINISHED_DOWNLOAD.fullmatch(filename) is not None


def _explain(filename: str) -> InvalidFilename | None:
    match = _UNFINISHED.fullmatch(filename)
    if match is not None and _is_valid(match["whole"]):
        return InvalidFilename(
            f"This is an unfinished download or copy of {match['whole']}.",
            "If nothing is writing it any more, remove it and fetch the file again.",
        )
    for reason, repaired, condition in _repairs(filename):
        if repaired != filename and _is_valid(repaired):
            return InvalidFilename(reason, f"Rename it to {repaired}{condition}.")
    if ALPHABET.fullmatch(filename) is None:
        return None
    for pattern, reason, advice in _FOREIGN:
        match = pattern.fullmatch(filename)
        if match is not None:
            return InvalidFilename(reason.format(*match.groups()), advice)
    return _explain_wheel(filename) if filename.endswith(WHEEL_EXTENSION) else _explain_sdist(filename)


def _is_valid(filename: str) -> bool:
    try:
        read_filename(filename)
    except InvalidFilename:
        return False
    return True


# -- Names that were valid before they were changed


_ARCHIVE = one_of((WHEEL_EXTENSION, *SDIST_EXTENSIONS))
_EVERY_ARCHIVE = one_of(
    (WHEEL_EXTENSION, *SDIST_EXTENSIONS, *UNSUPPORTED_ARCHIVES, *RETIRED_FORMATS, ".conda")
)
# " (1)" and "(1)" of browsers.
_SECOND_DOWNLOAD = re.compile(r"\s?\(\d{1,3}\)")
# " - Copy" and " - Kopie (2)" of Windows, " copy 2" and " 2" of macOS, " (copy)", " (another copy)" and
# " (3rd copy)" of GNOME, in any language.
_SECOND_COPY = re.compile(
    r"\s[-\u2013\u2014]\s\w+(?:\s\(\d{1,3}\))?|\scopy(?:\s\d{1,3})?|\s\(\w[^()]{0,30}\)|\s\d{1,3}(?=\.)"
)
# "Copy of " and "Kopie (2) von " of Windows before 7 and of Google Drive.
_COPY_OF = re.compile(
    r"\A(?:Copy|Kopie|Copie|Copia|C\u00f3pia|Kopia|Kopi)(?:\s\(\d{1,3}\))?\s(?:(?:of|von|van|de|di|af|av)\s)?"
)
# ".zip" and ".txt" of programs that guess the type of a file, another archive around it, the
# rest of a URL.
_ADDED = r"(?:\.(?:\d{1,3}|txt|bin|zip|gz|tgz|tar(?:\.\w{1,4})?)|[?#].*)"
# While a download runs, or when it was given up.
_BROWSERS_SUFFIX = r"\.(?:crdownload|download|opdownload)"
_APPENDED = re.compile(rf"(?P<right>.+?(?:{_ARCHIVE})){_ADDED}")
_WGET_SECOND = re.compile(rf"(.+?(?:{_ARCHIVE}))\.\d{{1,3}}")
_UNFINISHED = re.compile(rf"(?P<whole>.+?(?:{_ARCHIVE}))(?:{one_of(UNFINISHED_SUFFIXES)})", re.I)
_UNFINISHED_DOWNLOAD = re.compile(rf"[^.~#].*(?:{_ARCHIVE}){_BROWSERS_SUFFIX}", re.I)
_LIKELY = re.compile(
    rf"(?:(?:{_EVERY_ARCHIVE})(?:{_ADDED}|{_BROWSERS_SUFFIX}|\s?\(\d{{1,3}}\))?|\.tar\s?\(\d{{1,3}}\)\.\w+)\Z",
    re.I,
)
_SDIST_SUFFIX = re.compile(rf"(.+)[-._](?:src|source|sources|sdist)({_ARCHIVE})")
_DEBIAN_SOURCE = re.compile(r"(.+)_([^_-]+)\.orig(\.tar\.[a-z0-9]+)")
# Old versions of `wheel` replaced the hyphen of a post-release (PEP 440, implicit post releases).
_POST = re.compile(r"(.+-v?[0-9][0-9.]*)_([0-9]+)(-.+\.whl)")
# Old tools replaced the "+" of a local version by "_", or appended a revision without any separator.
_LOCAL = re.compile(r"(.+-v?[0-9][0-9.]*(?:(?:a|b|rc)[0-9]+)?(?:\.?(?:post|dev)[0-9]+)?)_(.+)")
# A "+" of a URL that was decoded as in a form.
_SPACED_LOCAL = re.compile(r"([^ ]+-v?[0-9][^- ]*) ([^ ]+)")
_REVISION = re.compile(r"(.+-v?[0-9][0-9.]*?)[.-]?((?:git|hg|svn|g)[0-9a-f]{2,40}[^-]*(?:-.+)?)")


def _repairs(filename: str) -> Iterator[tuple[str, str, str]]:
    """Guess names before a change: yield a reason, the repaired name, and a condition for the advice."""
    if "%" in filename:
        yield "The file name is escaped as in a URL.", unquote(filename), ""
    once = _SECOND_DOWNLOAD.sub("", filename, count=1)
    yield f"This is named like a browser's second download of {once}.", once, _IF_ABSENT
    if (match := _WGET_SECOND.fullmatch(filename)) is not None:
        yield f"This is named like wget's second download of {match[1]}.", match[1], _IF_ABSENT
    original = _SECOND_COPY.sub("", _COPY_OF.sub("", filename, count=1), count=1)
    yield f"This is named like a file manager's copy of {original}.", original, _IF_ABSENT
    if (match := _SPACED_LOCAL.fullmatch(filename)) is not None:
        yield "The file name has a space where a + belongs.", f"{match[1]}+{match[2]}", ""
    if (match := _APPENDED.fullmatch(filename)) is not None:
        yield (
            "Something was added to the extension of the file.",
            match["right"],
            "; if it was packed twice, unpack it",
        )
    if filename.endswith(".zip"):
        yield "This is named like a wheel, but ends in .zip.", filename[: -len(".zip")] + WHEEL_EXTENSION, ""
    if (match := _SDIST_SUFFIX.fullmatch(filename)) is not None:
        yield "A word follows the version in the file name.", match[1] + match[2], _IF_SDIST
    if (match := _DEBIAN_SOURCE.fullmatch(filename)) is not None:
        yield "This is named like a Debian source archive.", f"{match[1]}-{match[2]}{match[3]}", _IF_SDIST
    if (match := _POST.fullmatch(filename)) is not None:
        yield (
            "The version in the file name has an underscore in place of the hyphen of a post-release.",
            f"{match[1]}.post{match[2]}{match[3]}",
            _IF_FOLDER,
        )
    for pattern in (_LOCAL, _REVISION):
        if (match := pattern.fullmatch(filename)) is not None:
            yield (
                'The local part of a version begins with a "+" (PEP 440).',
                f"{match[1]}+{match[2]}",
                _IF_FOLDER if filename.endswith(WHEEL_EXTENSION) else _IF_VERSION,
            )
    if filename.endswith(WHEEL_EXTENSION):
        yield from _without_hyphens(filename)


_IF_ABSENT = ", or remove it if that exists already"
_IF_SDIST = ", if it is the project's sdist; else build one"
# pip parses the version in that folder's name too, and ends in a traceback if it is invalid.
_IF_FOLDER = ", if its .dist-info folder has that version too; else build it again with a current build tool"
_IF_VERSION = ", if its metadata has that version; else build it again with a valid version"


def _without_hyphens(filename: str) -> Iterator[tuple[str, str, str]]:
    """Remove the hyphens from a project's name, which ends before a part that begins with a digit."""
    parts = filename.split("-")
    end = next((at for at, part in enumerate(parts) if at and part[:1].isdigit()), 0)
    if end > 1:
        reason = "A wheel's name separates its parts by hyphens, so its project part must not contain any."
        yield reason, "-".join(["_".join(parts[:end]), *parts[end:]]), ""


# -- Names of other package managers

_SYSTEMS = (
    "linux|windows|win32|win64|win-|macosx|macos|darwin|freebsd|openbsd|netbsd|solaris|sunos|aix|hp-ux|cygwin"
)
_FOREIGN = tuple(
    (re.compile(pattern, re.IGNORECASE), reason, advice)
    for pattern, reason, advice in (
        (
            rf".+-v?[0-9][^-]*?[.-]((?:{_SYSTEMS})(?:(?<=-)\w|(?<!-)(?![a-z]))[-\w.]*?)(?:\.tar\.\w+|\.zip|\.tgz|\.tar)",
            "This is named like a binary archive for {0} (bdist_dumb), which installers do not support.",
            "Build a wheel of the project instead.",
        ),
        (
            r".+\.(?:m?pkg|app)\.zip|.+\.m?pkg",
            "This is a Mac installer, which installers of Python packages do not support.",
            _BUILD_INSTEAD,
        ),
        (
            r".+-v?[0-9][^-]*-[A-Za-z0-9_.]*_[0-9]+\.tar\.bz2|.+\.conda",
            "This is named like a conda package, which pip and uv do not support.",
            _BUILD_INSTEAD,
        ),
        (
            r".+\.pkg\.tar(?:\.\w+)?|.+\.debian\.tar\.\w+",
            "This is a system package or a part of one, which installers of Python packages do not support.",
            _BUILD_INSTEAD,
        ),
    )
)


# A variant label follows the tags; a build tag stands before them, and begins with a digit (PEP 825, a draft,
# section "Variant label"; its earlier versions limited the label to 16 characters).
_VARIANT = re.compile(r"(.+)-([0-9a-z._]+)\.whl")


def _explain_wheel(filename: str) -> InvalidFilename | None:
    match = _VARIANT.fullmatch(filename)
    if match is None or not _is_valid(match[1] + WHEEL_EXTENSION):
        return None
    return InvalidFilename(
        f'This is a wheel variant ("{match[2]}"; PEP 825, a draft), which is not listed.',
        "Put a wheel without a variant label here, which every installer supports.",
    )


_BRANCHES = frozenset({"master", "main", "trunk", "develop", "development", "devel", "dev", "head"})
_COMMIT = re.compile(r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}")
_BEGINS_VERSION = re.compile(r"[^-].*?-(v?[0-9].*)", re.IGNORECASE)


def _explain_sdist(filename: str) -> InvalidFilename | None:
    extension = next((suffix for suffix in SDIST_EXTENSIONS if filename.endswith(suffix)), None)
    if extension is None:
        return None
    stem = filename[: -len(extension)]
    if _is_valid(stem + WHEEL_EXTENSION):
        return InvalidFilename(
            f"This is named like a wheel, but ends in {extension}.",
            "Put the wheel here as it was built: a zip archive that ends in .whl.",
        )
    name, _hyphen, last = stem.rpartition("-")
    if not name and normal_form(stem) is not None:
        return InvalidFilename(
            "The file name is a version without a project, like that of an archive of a tag.",
            f"Put the project's name before it, as in name-{stem}{extension}.",
        )
    if (
        name
        and (last.lower() in _BRANCHES or _COMMIT.fullmatch(last))
        and not _BEGINS_VERSION.fullmatch(name)
    ):
        return InvalidFilename(
            f'This is named like an archive of a branch or commit ("{last}"), which has no version.',
            "Build an sdist from it, or rename it to its version, as in name-1.0.tar.gz.",
        )
    match = _BEGINS_VERSION.fullmatch(stem)
    if match is None or normal_form(match[1]) is not None:
        return None
    return InvalidFilename(
        f'"{match[1]}" is not a version that PEP 440 allows.',
        "Give the project a valid version, such as 1.0, 1.0.dev3 or 1.0+local, and build the file again.",
    )
