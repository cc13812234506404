"""
Validates an upload form: whether its fields are consistent with its file. Pure.

Each message names the field and says what to do. Out of scope: whether the file may be published, or exists
already (see `IStore`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from twisted_index.errors import BadRequest, Gone
from twisted_index.simple.names import (
    DistributionType,
    InvalidFilename,
    is_valid_name,
    normalize,
    parse_filename,
)
from twisted_index.web.uploads.multipart_form import printable_excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted_index.simple.names import Distribution
    from twisted_index.web.uploads.multipart_form import UploadForm

#: Actions that PyPI no longer supports either (it responds with 410).
_DEAD = ("submit", "submit_pkg_info", "doc_upload", "verify")
#: Extensions of new files that installers support.
_EXTENSIONS = (".whl", ".tar.gz", ".zip")
#: The digest fields of a form: the name of the digest in a spool, and the number of its hex digits.
_DIGESTS = {
    "sha256_digest": ("sha256", 64),
    "blake2_256_digest": ("blake2b_256", 64),
    "md5_digest": ("md5", 32),
}
#: An armored signature, and nothing else (RFC 9580 section 6.2): header lines, an empty line, base64.
_ARMORED = re.compile(
    rb"-----BEGIN PGP SIGNATURE-----[ \t]*\r?\n"
    rb"(?:[!-9;-~][ -9;-~]*:[^\r\n]*\r?\n)*[ \t]*\r?\n"
    rb"(?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+"
    rb"-----END PGP SIGNATURE-----[ \t\r\n]*"
)
#: Core metadata versions are 1.0 to 2.5 today; the next one needs no new release of this project.
_METADATA_VERSION = re.compile(r"[12]\.[0-9]{1,2}")


def promised_digests(fields: Iterable[str]) -> list[str]:
    """Return the names, as in a spool, of the digests among the fields of a form."""
    return [_DIGESTS[field][0] for field in fields if field in _DIGESTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedUpload:
    """
    A valid upload: the file to publish and its claimed digests.

    Attributes:
        distribution: The parsed file name.
        digests: The claimed digests, lower-case hex, by their names in a spool.
    """

    distribution: Distribution
    digests: Mapping[str, str]

    def check_digests(self, digests: Mapping[str, str]) -> None:
        """
        Compare the claimed digests with those of the received file.

        Args:
            digests: Computed from the received bytes.

        Raises:
            BadRequest: A digest differs.
        """
        for field, (name, _length) in _DIGESTS.items():
            if name in self.digests and self.digests[name] != digests.get(name):
                raise BadRequest(f"The received bytes do not match {field}; send the file again.")


def validate_filename(filename: str, project: str | None = None) -> Distribution:
    """
    Parse the name of a file to be published.

    Args:
        filename: As sent.
        project: Normalized, if known; see `parse_filename`.

    Raises:
        BadRequest: Installers could not use the file.
    """
    try:
        distribution = parse_filename(filename, project)
    except InvalidFilename as error:
        raise BadRequest(f"{printable_excerpt(filename)}: {error.reason} {error.advice}") from None
    if distribution.extension not in _EXTENSIONS:
        raise BadRequest(
            f"{filename}: new sdists are .tar.gz or .zip files, not {distribution.extension};"
            " pack the same content as a .tar.gz file."
        )
    return distribution


def validate_form(form: UploadForm, asked_action: str | None = None) -> ValidatedUpload:
    """
    Validate the fields of a form.

    Args:
        form: A complete form.
        asked_action: The `:action` of the query, if there is one.

    Raises:
        Gone: No index supports the action any more.
        BadRequest: The form is invalid.
    """
    check_action(_single(form, ":action") or asked_action)
    protocol = _single(form, "protocol_version")
    if protocol not in (None, "1"):
        raise BadRequest(f"protocol_version {printable_excerpt(protocol or '')} is not known; send 1.")
    if form.filename is None:
        raise BadRequest("The form has no content; send the file in a part of that name.")
    if not form.size:
        raise BadRequest("The file in content is empty.")
    distribution = validate_filename(form.filename, _project(form))
    _check_kind(form, distribution)
    _check_name(form, distribution)
    _check_version(form, distribution)
    metadata_version = _single(form, "metadata_version")
    if metadata_version is not None and _METADATA_VERSION.fullmatch(metadata_version) is None:
        raise BadRequest(
            f"metadata_version {printable_excerpt(metadata_version)} is not a version of core metadata."
        )
    _check_signature(form, distribution)
    return ValidatedUpload(distribution=distribution, digests=_digests(form))


def check_action(action: str | None) -> None:
    """
    Check the action of a form. To be checked first: the other fields depend on it.

    Raises:
        Gone: No index supports the action any more.
        BadRequest: The action is missing or unsupported.
    """
    if action in _DEAD:
        raise Gone(
            f"{action} is no longer supported by package indexes; upload the file, which contains its"
            " metadata."
        )
    if action is None:
        raise BadRequest("The form has no :action; send it with the value file_upload.")
    if action == "remove_pkg":
        raise BadRequest(
            "remove_pkg is not supported. Send DELETE to the URL of the file, /simple/NAME/FILE, or run"
            " twisted-index delete FILE on the server."
        )
    if action != "file_upload":
        raise BadRequest(f":action {printable_excerpt(action)} is not known; send file_upload.")


def _single(form: UploadForm, name: str) -> str | None:
    values = set(form.fields.get(name, ()))
    if len(values) > 1:
        raise BadRequest(f"The field {name} is given more than once, with different values.")
    return next(iter(values), None)


def _project(form: UploadForm) -> str | None:
    name = _single(form, "name")
    return normalize(name) if name is not None and is_valid_name(name) else None


def _check_kind(form: UploadForm, distribution: Distribution) -> None:
    value = _single(form, "filetype")
    if value is None or value == distribution.kind.value:
        return
    if value not in (DistributionType.WHEEL.value, DistributionType.SDIST.value):
        raise BadRequest(
            f"filetype {printable_excerpt(value)} is not accepted; build an sdist or a bdist_wheel."
        )
    raise BadRequest(f"filetype is {value}, but {distribution.filename} is a {distribution.kind.value}.")


def _check_name(form: UploadForm, distribution: Distribution) -> None:
    value = _single(form, "name")
    if value is None:
        return
    if not is_valid_name(value):
        raise BadRequest(
            f"name {printable_excerpt(value)} is not a valid project name; see the packaging specification of"
            " names."
        )
    if normalize(value) != distribution.project:
        raise BadRequest(
            f"name is {value}, but {distribution.filename} is a file of {distribution.project};"
            " build the file again."
        )


def _check_version(form: UploadForm, distribution: Distribution) -> None:
    value = _single(form, "version")
    if value is None:
        return
    try:
        same = Version(value) == Version(distribution.version)
    except InvalidVersion:
        raise BadRequest(
            f"version {printable_excerpt(value)} is not a version that PEP 440 allows."
        ) from None
    if not same:
        raise BadRequest(
            f"version is {printable_excerpt(value)}, but {distribution.filename} says {distribution.version};"
            " build the file again."
        )


def _check_signature(form: UploadForm, distribution: Distribution) -> None:
    if form.signature is None:
        return
    expected = f"{distribution.filename}.asc"
    if form.signature_name != expected:
        raise BadRequest(
            f"gpg_signature is named {printable_excerpt(form.signature_name or '')}, which is not the"
            f" signature of {distribution.filename}; send {expected}."
        )
    if _ARMORED.fullmatch(form.signature) is None:
        raise BadRequest(
            f"{expected} is not one armored signature from its first line to its last;"
            " make it with gpg --armor --detach-sign."
        )


def _digests(form: UploadForm) -> dict[str, str]:
    """
    Return the claimed digests that are well-formed; each of them has to match.

    A malformed digest is ignored if there is another: as `blake2_256_digest`, the distutils of
    Python 3.9 to 3.11 sends 512 bits (cpython issue 89753).
    """
    digests: dict[str, str] = {}
    unusable = []
    for field, (name, length) in _DIGESTS.items():
        values = {value.lower() for value in form.fields.get(field, ())}
        possible = {value for value in values if re.fullmatch(rf"[0-9a-f]{{{length}}}", value)}
        if len(possible) > 1:
            raise BadRequest(f"The field {field} is given more than once, with different values.")
        if possible:
            digests[name] = possible.pop()
        elif values:
            unusable.append(f"{field} is not {length} hex digits")
    if unusable and not digests:
        raise BadRequest(f"{unusable[0]}, and no other digest was sent; send a correct one, or none.")
    return digests
