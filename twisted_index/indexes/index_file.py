"""
The settings of an index, in the file `.index.toml` of its folder.

The file lies where people drop wheels. So it only names what the configuration of the server defines: an
upstream by its table, uploads where they are on. One that is broken changes nothing while the server runs,
and one that never was whole is an error: never an index without bases. Blocking; the file is small.
"""

from __future__ import annotations

import errno
import os
import tomllib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from twisted_index.config import parsers
from twisted_index.config.tables import TableKey, read_table
from twisted_index.errors import ConfigurationError, Unavailable
from twisted_index.files.safe_open import open_regular_file
from twisted_index.files.watched_file import WatchedFile

if TYPE_CHECKING:
    import io

NAME = ".index.toml"
LARGEST_FILE = 64_000
#: Names in a list.
_MAX_NAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """
    What an index says of itself.

    Attributes:
        title: For people; empty without one.
        bases: The names of the indexes that it inherits, in order.
        upload: Whether uploads are accepted, where the server accepts any; None as the server does.
        overwrite: See `UploadSettings.overwrite`; None as the server has it.
        promote_to: The names of the indexes that releases may be promoted to; None for all.
        reserve_names: Whether no index of the server may request its names from an upstream.
        upstreams: The names of the upstreams that it has.
    """

    title: str = ""
    bases: tuple[str, ...] = ()
    upload: bool | None = None
    overwrite: tuple[str, ...] | None = None
    promote_to: tuple[str, ...] | None = None
    reserve_names: bool = False
    upstreams: tuple[str, ...] = ()


_EMPTY = IndexSettings()


def parse_index_settings(data: bytes) -> IndexSettings:
    """
    Parse the file.

    Raises:
        ConfigurationError: It is not TOML, or has an unknown key or a wrong value.
    """
    try:
        written = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"TOML must be UTF-8, and byte {error.start} is not.") from error
    # TOMLDecodeError with its line, or int() of more digits than Python converts.
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"This is not TOML: {error}.") from error
    return IndexSettings(**read_table(written, _KEYS, "")) if written else _EMPTY


class IndexFile:
    """
    The file of one index.

    Args:
        name: The name of the index.
        folder: Its absolute folder.

    Attributes:
        problem: What is wrong with the file, in a sentence; empty if it can be used.
    """

    __slots__ = ("_file", "_folder", "_last", "_name", "problem")

    def __init__(self, name: str, folder: bytes) -> None:
        self._name = name
        self._folder = folder
        self._file = WatchedFile(
            os.path.join(os.fsdecode(folder), NAME),
            parse_index_settings,
            stat=os.lstat,
            max_bytes=LARGEST_FILE,
            opener=_open,
        )
        self._last: IndexSettings | None = None
        self.problem = ""

    def settings(self) -> IndexSettings:
        """
        Return the settings that hold now: those of the file, or its last good ones if it is broken.

        Raises:
            Unavailable: They are unknown.
        """
        known = self._file.cached()
        if known is None:
            known = self._read()
        return known

    def _read(self) -> IndexSettings:
        try:
            settings = self._file.read()
            # A file that is being written again is empty for a moment, in which it must not lose its bases.
            if settings is not _EMPTY or self._last is None or not self._file.changed():
                self._last = settings
            self.problem = ""
        except FileNotFoundError:
            self._require_folder()
            self._last, self.problem = IndexSettings(), ""
        except ConfigurationError as error:
            self.problem = error.message
        except OSError as error:
            self.problem = f"It cannot be read: {_reason(error)}."
        if self._last is None:
            sentence = f"The settings of the index {self._name} cannot be used. {NAME}: {self.problem}"
            raise Unavailable(sentence)
        return self._last

    def _require_folder(self) -> None:
        """Refuse to say that there are no settings if there is no folder, as behind a link to a mount."""
        try:
            os.stat(os.path.join(self._folder, b"."))
        except OSError as error:
            sentence = f"The folder of the index {self._name} cannot be read: {error.strerror}."
            raise Unavailable(sentence) from error


def _open(path: str) -> io.FileIO:
    """Open the file; a link could show what lies elsewhere, in its error messages."""
    file = open_regular_file(os.fsencode(path), follow_links=False)
    if file is None:
        raise OSError(errno.EINVAL, "it is not a file")
    if os.fstat(file.fileno()).st_size > LARGEST_FILE:
        file.close()
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST_FILE} bytes")
    return file


def _reason(error: OSError) -> str:
    return "it is a link" if error.errno == errno.ELOOP else error.strerror or "unknown error"


# -- Values


def _flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("this is true or false, without quotes")
    return raw


def _several(parse: parsers.Parser, raw: object) -> tuple[object, ...]:
    """Read a name or a list of them; here a list may be empty."""
    values = raw if isinstance(raw, list) else [raw]
    if len(values) > _MAX_NAMES:
        raise ValueError(f"these are more than {_MAX_NAMES}")
    parsed = [parse(value) for value in values]
    twice = next((value for value in parsed if parsed.count(value) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is there twice")
    return tuple(parsed)


_names = partial(_several, parsers.index_name)

_KEYS = {
    "title": TableKey("title", parsers.title),
    "bases": TableKey("bases", _names),
    "upload": TableKey("upload", _flag),
    "overwrite": TableKey("overwrite", partial(_several, parsers.single_word)),
    "promote-to": TableKey("promote_to", _names),
    "reserve-names": TableKey("reserve_names", _flag),
    "upstream": TableKey("upstreams", partial(_several, parsers.text)),
}
