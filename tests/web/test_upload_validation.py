"""What a form says of its file is compared with the name and the bytes of the file."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from twisted_index.errors import BadRequest, Gone
from twisted_index.web.uploads.form_validation import ValidatedUpload, validate_form
from twisted_index.web.uploads.multipart_form import UploadForm

WHEEL = "demo_pkg-1.0-py3-none-any.whl"


def claim(
    filename: str | None = WHEEL, asked: str | None = None, size: int = 5, **fields: Any
) -> ValidatedUpload:
    said: dict[str, Any] = {":action": "file_upload", "protocol_version": "1"} | fields
    values = {
        name: value if isinstance(value, tuple) else (value,)
        for name, value in said.items()
        if value is not None
    }
    return validate_form(UploadForm(fields=values, filename=filename, size=size), asked)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"filetype": "bdist_wheel", "name": "Demo.Pkg", "version": "1.0.0", "metadata_version": "2.4"},
        {"name": "demo--pkg", "version": "v1"},
        {"name": ("demo-pkg", "demo-pkg")},
        {"protocol_version": None},
        {":action": None, "asked": "file_upload"},
    ],
)
def test_what_agrees_is_taken(fields: dict[str, Any]):
    assert claim(**fields).distribution.project == "demo-pkg"


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("demo-1.0+local.1-py3-none-any.whl", "1.0+local.1"),
        ("Demo-1.0-py3-none-linux_x86_64.whl", "1.0"),
        ("demo-1.0.zip", "1.0"),
        ("demo-1!2.0.post1.tar.gz", "1!2.0.post1"),
        ("demo-1-1.tar.gz", "1.post1"),
    ],
)
def test_private_indexes_are_not_as_strict_as_pypi(filename: str, version: str):
    assert claim(filename, name="demo", version=version).distribution.version == version


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({":action": None}, "send it with the value file_upload"),
        ({":action": "launch"}, ":action launch is not known"),
        ({":action": "remove_pkg"}, "Send DELETE to the URL of the file, .* or run twisted-index delete"),
        ({"protocol_version": "2"}, "protocol_version 2 is not known"),
        ({"filename": None}, "no content"),
        ({"size": 0}, "empty"),
        ({"filetype": "sdist"}, "filetype is sdist, but demo_pkg-1.0-py3-none-any.whl is a bdist_wheel"),
        ({"filetype": "bdist_egg"}, "filetype bdist_egg is not accepted"),
        ({"name": "other"}, "name is other, but"),
        ({"name": "../x"}, r"name ../x is not a valid project name"),
        ({"name": ("demo-pkg", "other")}, "name is given more than once"),
        ({"version": "2.0"}, "version is 2.0, but"),
        ({"version": "1.0+local"}, "version is"),
        ({"version": "one"}, "version one is not a version"),
        ({"metadata_version": "3.0"}, "metadata_version 3.0"),
        ({"metadata_version": "x"}, "metadata_version x"),
        ({"sha256_digest": "ab"}, "sha256_digest is not 64 hex digits"),
        ({"md5_digest": "g" * 32}, "md5_digest is not 32 hex digits"),
        ({"blake2_256_digest": "a" * 65}, "blake2_256_digest is not 64 hex digits"),
        ({"blake2_256_digest": "a" * 128}, "blake2_256_digest is not 64 hex digits, and no other digest"),
        ({"md5_digest": "n" * 22, "sha256_digest": "x"}, "sha256_digest is not 64 hex digits, and no other"),
        ({"sha256_digest": ("a" * 64, "b" * 64)}, "sha256_digest is given more than once"),
        ({"filename": "demo-1.0.tar.bz2"}, r"not .tar.bz2; pack the same content as a .tar.gz"),
        ({"filename": "demo-1.0.egg"}, "Build a wheel"),
        ({"filename": "demo.whl"}, "five or six parts"),
        ({"filename": "../demo-1.0.tar.gz"}, "a slash"),
        ({"filename": "..\\demo-1.0.tar.gz"}, "a slash"),
        ({"filename": "demo-1.0.tar.gz\n"}, "control characters"),
        ({"filename": ".demo-1.0.tar.gz"}, "not a valid"),
        ({"filename": "demo-1.0.tar.gz.yanked"}, "neither a wheel nor an sdist"),
        ({"filename": "d" * 300 + "-1.0.tar.gz"}, "longer than 255"),
    ],
)
def test_what_disagrees_is_told(fields: dict[str, Any], told: str):
    with pytest.raises(BadRequest, match=told) as caught:
        claim(**fields)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("action", ["submit", "submit_pkg_info", "doc_upload", "verify"])
def test_what_no_index_does_any_more_is_gone(action: str):
    with pytest.raises(Gone, match="no longer supported"):
        claim(None, **{":action": action})
    with pytest.raises(Gone):
        claim(None, action, **{":action": None})


def test_digests_are_compared_in_any_case():
    digests = {
        "sha256": hashlib.sha256(b"x").hexdigest(),
        "md5": hashlib.md5(b"x").hexdigest(),
        "blake2b_256": hashlib.blake2b(b"x", digest_size=32).hexdigest(),
    }
    said = {
        "sha256_digest": digests["sha256"].upper(),
        "md5_digest": digests["md5"],
        "blake2_256_digest": digests["blake2b_256"],
    }
    claim(**said).check_digests(digests)
    claim().check_digests(digests)
    for name in said:
        wrong = "0" * len(said[name])
        with pytest.raises(BadRequest, match=f"bytes do not match {name}"):
            claim(**said | {name: wrong}).check_digests(digests)


SHA256, MD5 = hashlib.sha256(b"x").hexdigest(), hashlib.md5(b"x").hexdigest()


@pytest.mark.parametrize(
    "fields",
    [
        {"blake2_256_digest": hashlib.blake2b(b"x").hexdigest(), "sha256_digest": SHA256, "md5_digest": MD5},
        {"blake2_256_digest": hashlib.blake2b(b"x").hexdigest(), "md5_digest": MD5},
        {"md5_digest": "nVaS5OYsqGVnt3Ol1mCc7w", "sha256_digest": SHA256},
        {"sha256_digest": f"sha256={SHA256}", "md5_digest": MD5},
        {"sha256_digest": (SHA256, SHA256.upper(), "none")},
    ],
    ids=["distutils", "distutils-fips", "base64", "prefixed", "several"],
)
def test_a_digest_that_cannot_be_one_is_left_alone_beside_a_right_one(fields: dict[str, Any]):
    found = claim(**fields)
    found.check_digests({"sha256": SHA256, "md5": MD5})
    with pytest.raises(BadRequest, match=r"do not match (sha256|md5)_digest"):
        found.check_digests({"sha256": "0" * 64, "md5": "0" * 32})
