"""
What a form says of the file in it, and whether that can be true. Pure.

One problem is told in one sentence, which names the field and says what to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from twisted_index.errors import BadRequest, Gone
from twisted_index.simple.names import InvalidFilename, Kind, is_valid_name, normalize, parse_filename
from twisted_index.web.form import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.simple.names import Distribution
    from twisted_index.web.form import Form

#: What PyPI no longer does either (it answers 410 to them).
_DEAD = ("submit", "submit_pkg_info", "doc_upload", "verify")
#: What an installer can be expected to take of what is new.
_EXTENSIONS = (".whl", ".tar.gz", ".zip")
#: The digests of the form, as a spool calls them, with the number of their hex digits.
_DIGESTS = {
    "sha256_digest": ("sha256", 64),
    "blake2_256_digest": ("blake2b_256", 64),
    "md5_digest": ("md5", 32),
}
#: Core metadata versions are 1.0 to 2.5 today; the next one needs no new release of ours.
_METADATA_VERSION = re.compile(r"[12]\.[0-9]{1,2}")


def promised_digests(fields: Iterable[str]) -> list[str]:
    """Name the digests that fields of a form speak of, as a spool calls them."""
    return [_DIGESTS[field][0] for field in fields if field in _DIGESTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    What is to be published, and what is said of its bytes.

    Attributes:
        distribution: What its name says.
        digests: Lower-case hex, by the names that a spool has for them.
    """

    distribution: Distribution
    digests: Mapping[str, str]

    def check_bytes(self, digests: Mapping[str, str]) -> None:
        """
        Compare what was said with what came.

        Args:
            digests: Of the bytes that came.

        Raises:
            BadRequest: They are not the bytes that were sent.
        """
        for field, (name, _length) in _DIGESTS.items():
            if name in self.digests and self.digests[name] != digests.get(name):
                raise BadRequest(
                    f"The bytes that arrived do not have the digest that {field} says; send the file again."
                )


def acceptable(filename: str, project: str | None = None) -> Distribution:
    """
    Read the name of a file that is to be published.

    Args:
        filename: As it came.
        project: Normalized, if it is known; see `parse_filename`.

    Raises:
        BadRequest: Installers could not use it.
    """
    try:
        distribution = parse_filename(filename, project)
    except InvalidFilename as error:
        raise BadRequest(f"{shown(filename)}: {error.reason} {error.advice}") from None
    if distribution.extension not in _EXTENSIONS:
        raise BadRequest(
            f"{filename}: new sdists are .tar.gz or .zip files, not {distribution.extension};"
            " pack the same content as a .tar.gz file."
        )
    return distribution


def check(form: Form, asked_action: str | None = None) -> Claim:
    """
    Check what a form says.

    Args:
        form: That has come to its end.
        asked_action: The `:action` of the query, if there is one.

    Raises:
        Gone: It asks for what no index does any more.
        BadRequest: Something is wrong with it.
    """
    _check_action(_single(form, ":action") or asked_action)
    protocol = _single(form, "protocol_version")
    if protocol not in (None, "1"):
        raise BadRequest(f"protocol_version {shown(protocol or '')} is not known; send 1.")
    if form.filename is None:
        raise BadRequest("The form has no content; send the file in a part of that name.")
    if not form.size:
        raise BadRequest("The file in content is empty.")
    distribution = acceptable(form.filename, _project(form))
    _check_kind(form, distribution)
    _check_name(form, distribution)
    _check_version(form, distribution)
    metadata_version = _single(form, "metadata_version")
    if metadata_version is not None and _METADATA_VERSION.fullmatch(metadata_version) is None:
        raise BadRequest(f"metadata_version {shown(metadata_version)} is no version of core metadata.")
    return Claim(distribution=distribution, digests=_digests(form))


def _single(form: Form, name: str) -> str | None:
    values = set(form.fields.get(name, ()))
    if len(values) > 1:
        raise BadRequest(f"The field {name} is given more than once, with different values.")
    return next(iter(values), None)


def _check_action(action: str | None) -> None:
    if action in _DEAD:
        raise Gone(f"{action} is no longer done by package indexes; upload the file, which says it all.")
    if action is None:
        raise BadRequest("The form does not say what to do; send :action with the value file_upload.")
    if action != "file_upload":
        raise BadRequest(f":action {shown(action)} is not known; send file_upload.")


def _project(form: Form) -> str | None:
    name = _single(form, "name")
    return normalize(name) if name is not None and is_valid_name(name) else None


def _check_kind(form: Form, distribution: Distribution) -> None:
    said = _single(form, "filetype")
    if said is None or said == distribution.kind.value:
        return
    if said not in (Kind.WHEEL.value, Kind.SDIST.value):
        raise BadRequest(f"filetype {shown(said)} is not taken; build an sdist or a bdist_wheel.")
    raise BadRequest(f"filetype is {said}, but {distribution.filename} is a {distribution.kind.value}.")


def _check_name(form: Form, distribution: Distribution) -> None:
    said = _single(form, "name")
    if said is None:
        return
    if not is_valid_name(said):
        raise BadRequest(f"name {shown(said)} is not a valid project name; see its packaging specification.")
    if normalize(said) != distribution.project:
        raise BadRequest(
            f"name is {said}, but {distribution.filename} is a file of {distribution.project};"
            " build the file again."
        )


def _check_version(form: Form, distribution: Distribution) -> None:
    said = _single(form, "version")
    if said is None:
        return
    try:
        same = Version(said) == Version(distribution.version)
    except InvalidVersion:
        raise BadRequest(f"version {shown(said)} is not a version that PEP 440 allows.") from None
    if not same:
        raise BadRequest(
            f"version is {shown(said)}, but {distribution.filename} says {distribution.version};"
            " build the file again."
        )


def _digests(form: Form) -> dict[str, str]:
    found = {}
    for field, (name, length) in _DIGESTS.items():
        said = _single(form, field)
        if said is None:
            continue
        if re.fullmatch(rf"[0-9A-Fa-f]{{{length}}}", said) is None:
            raise BadRequest(f"{field} is not {length} hex digits.")
        found[name] = said.lower()
    return found
