"""
Files of requirements and of constraints, as pip reads them, and requirements given as words.

What no index can serve (URLs, editable and local projects) is left out with a sentence each. Blocking.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement

from twisted_index.errors import ConfigurationError
from twisted_index.simple.formatting import printable, without_users
from twisted_index.simple.names import normalize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Before UTF-16, whose mark is the beginning of that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_URL = re.compile(r"(?i)[a-z][a-z0-9+.-]*:(//|[^ ]*/)")
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar")
#: How files of requirements and lock files are called, and other files that hold requirements.
_FILES = (".txt", ".in", ".lock", ".toml")
_OTHER_FILES = (".toml", ".lock", ".json", "Pipfile", "setup.cfg", "setup.py")

_INCLUDES = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
#: Options behind a requirement.
_OF_A_LINE = ("--hash", "--config-settings", "-C")
_EQUALS = re.compile(r"(?<!\S)(--hash|--config-settings)=")
_EDITABLE = ("-e", "--editable")
_INDEXES = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host")
#: Those that uv understands as well, and how many words follow.
_PASSED_ON = {"--only-binary": 1, "--no-binary": 1, "--pre": 0}
#: pip's own, without meaning here; `--hash` alone demands hashes too.
_WITHOUT_MEANING = ("--prefer-binary", "--require-hashes", "--use-feature", "--no-use-feature")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRequirement:
    """
    A requirement.

    Attributes:
        requirement: Parsed, with its marker.
        hashes: `ALGORITHM:HEX` of the only files that may be taken; empty for any.
    """

    requirement: Requirement
    hashes: frozenset[str] = frozenset()

    @property
    def project(self) -> str:
        """The normalized name."""
        return normalize(self.requirement.name)

    @property
    def pinned_version(self) -> str | None:
        """The version, if it is the only one that fits."""
        specifiers = list(self.requirement.specifier)
        exact = len(specifiers) == 1 and specifiers[0].operator in ("==", "===")
        return specifiers[0].version if exact and not specifiers[0].version.endswith(".*") else None


@dataclass(slots=True, kw_only=True)
class Requirements:
    """
    What files and words ask for.

    Attributes:
        wanted: In their order.
        constraints: As in a file of constraints, one each.
        options: For the resolver: `--only-binary`, `--no-binary`, `--pre`.
        left_out: A sentence for each line that no index can serve.
        ignored: A sentence for each other line that has no effect.
    """

    wanted: list[WantedRequirement] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    @property
    def is_locked(self) -> bool:
        """Whether all are pinned with hashes, so that there is nothing to resolve."""
        return bool(self.wanted) and all(one.hashes and one.pinned_version for one in self.wanted)


def read_requirements(
    words: Sequence[str] = (), files: Sequence[str] = (), constraint_files: Sequence[str] = ()
) -> Requirements:
    """
    Read requirements.

    Args:
        words: As on the command line of pip.
        files: Paths of requirements files.
        constraint_files: Paths of files of constraints.

    Raises:
        ConfigurationError: A file cannot be read, or a line is no requirement; the message says where.
    """
    reader = _Reader()
    for word in words:
        if word.endswith(_FILES) and os.path.isfile(word):
            raise ConfigurationError(f"{printable(word)} is a file; put -r before it.")
        reader.read_line(word, "the command line", os.curdir, is_constraint=False)
    for path in files:
        reader.read_file(path, is_constraint=False)
    for path in constraint_files:
        reader.read_file(path, is_constraint=True)
    return reader.found


class _Reader:
    """Reads files and those that they name, each once."""

    def __init__(self) -> None:
        self.found = Requirements()
        self._seen: set[tuple[str, bool]] = set()

    def read_file(self, path: str, *, is_constraint: bool) -> None:
        """Read a file."""
        key = (os.path.realpath(path), is_constraint)
        if key in self._seen:
            return
        self._seen.add(key)
        if path.endswith(_OTHER_FILES):
            raise ConfigurationError(
                f"{printable(path)} is not a file of requirements; make a uv.lock, a pylock.toml or a"
                " requirements.txt of it, by uv lock, poetry export or the like."
            )
        for number, line in _logical_lines(_text(path)):
            place = f"{printable(path)}, line {number}"
            self.read_line(line, place, os.path.dirname(path), is_constraint=is_constraint)

    def read_line(self, line: str, place: str, folder: str, *, is_constraint: bool) -> None:
        """Read a line without its comment."""
        if line.startswith("-"):
            self._read_option(line, place, folder, is_constraint=is_constraint)
            return
        text, hashes = _split_hashes(line, place)
        if (reason := _why_not_served(text)) is not None:
            self.found.left_out.append(f"{place}: {_shown(text)} {reason}")
            return
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise ConfigurationError(f"{place}: {_shown(text)} is not a requirement.") from None
        if requirement.url is not None:
            self.found.left_out.append(f"{place}: {_shown(text)} {_OF_A_URL}")
        elif is_constraint:
            self.found.constraints.append(text)
        else:
            self.found.wanted.append(WantedRequirement(requirement=requirement, hashes=hashes))

    def _read_option(self, line: str, place: str, folder: str, *, is_constraint: bool) -> None:
        option, values = _option_words(line, place)
        if option in _INCLUDES and len(values) == 1:
            if _URL.match(values[0]):
                raise ConfigurationError(f"{place}: {_shown(values[0])} is a URL; download that file first.")
            self.read_file(
                os.path.join(folder, os.path.expanduser(values[0])),
                is_constraint=is_constraint or _INCLUDES[option] == "-c",
            )
        elif option in _EDITABLE:
            self.found.left_out.append(f"{place}: {_shown(line)} {_OF_A_FOLDER}")
        elif option in _INDEXES:
            self.found.ignored.append(
                f"{place}: {_shown(line)} names where pip looks, and has no effect; the only source is that"
                " of --index-url."
            )
        elif _PASSED_ON.get(option) == len(values):
            self.found.options += [option, *values]
        elif option not in _WITHOUT_MEANING:
            raise ConfigurationError(f"{place}: {_shown(line)} is not an option that is known here.")


# -- Lines


def _text(path: str) -> str:
    """Read a file in the encoding that it names: by a mark at its beginning, or as Python does (PEP 263)."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigurationError(f"{printable(path)} cannot be read: {error.strerror}.") from None
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        named = next(filter(None, map(_CODING.match, content.split(b"\n")[:2])), None)
        encoding = named[1].decode() if named else "utf-8"
    try:
        text = content.decode(encoding)
    except (UnicodeError, LookupError):
        text = "\0"
    # Of UTF-16 without a mark, too.
    if "\0" in text:
        raise ConfigurationError(f"{printable(path)} is not text in {encoding}; save it in UTF-8.")
    return text


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers: joined where a backslash ends one, without comments, not empty."""
    joined, first = "", 0
    for number, line in enumerate((*text.splitlines(), ""), 1):
        is_comment = line.lstrip().startswith("#")
        first = first if joined else number
        if line.endswith("\\") and not is_comment:
            joined += line[:-1] + " "
            continue
        whole = _COMMENT.sub("", joined + ("" if is_comment else line)).strip()
        joined = ""
        if whole:
            yield first, _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), whole)


def _split_hashes(line: str, place: str) -> tuple[str, frozenset[str]]:
    """Return a requirement without its options, and the hashes among them."""
    text, *options = re.split(r"\s(?=--?[A-Za-z])", line, maxsplit=1)
    words = _shell_words(_EQUALS.sub(r"\1 ", options[0]), place) if options else []
    if len(words) % 2 or any(word not in _OF_A_LINE for word in words[::2]):
        raise ConfigurationError(f"{place}: {_shown(line)} has an option that is not known here.")
    hashes = [value.lower() for name, value in zip(words[::2], words[1::2], strict=True) if name == "--hash"]
    return text.strip(), frozenset(hashes)


def _option_words(line: str, place: str) -> tuple[str, list[str]]:
    """Split `-r FILE`, `-rFILE` and `--requirement=FILE` alike."""
    first, *more = _shell_words(line, place)
    if first.startswith("--"):
        option, equals, value = first.partition("=")
        return option, [value, *more] if equals else more
    return first[:2], [first[2:], *more] if first[2:] else more


def _shell_words(text: str, place: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise ConfigurationError(f"{place}: {_shown(text)} has a quote without its end.") from None


# -- What no index can serve

_OF_A_URL = (
    "is at a URL, and not in an index: download that file, and copy it into the folder; what it needs has"
    " to be listed by itself."
)
_OF_A_FOLDER = (
    "is a project on this machine, and not in an index: build a wheel of it, and copy that into the folder;"
    " what it needs has to be listed by itself."
)


def _why_not_served(text: str) -> str | None:
    """Return why no index can serve what a line names; None for a requirement by name."""
    name = text.partition(";")[0].strip()
    if _URL.match(name):
        return _OF_A_FOLDER if name.lower().startswith("file:") else _OF_A_URL
    has_path = "/" in name or "\\" in name or name.startswith(".")
    if (
        " @ " not in name
        and "@" not in name.partition("/")[0]
        and (has_path or name.lower().endswith(_ARCHIVES))
    ):
        return _OF_A_FOLDER
    return None


def _shown(text: str) -> str:
    return printable(without_users(text))
