"""What becomes of an upload, and what its sender is told."""

from __future__ import annotations

import hashlib
import json

import pytest
from zope.interface.verify import verifyObject

from tests.kit.uploads import (
    ACTION,
    ALICE,
    BOB,
    CAROL,
    NAME,
    MemoryAccess,
    MemorySpool,
    MemoryStore,
    UploadSite,
    form,
    part,
    upload_form,
)
from twisted_index.config.settings import UploadSettings
from twisted_index.errors import Forbidden, InsufficientStorage
from twisted_index.interfaces import IAccessControl, ISpool, IStore

#: What uv sends.
UV_ACCEPT = "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"


def test_the_doubles_keep_the_contracts():
    verifyObject(IStore, MemoryStore())
    verifyObject(ISpool, MemorySpool())
    verifyObject(IAccessControl, MemoryAccess())


def test_an_upload_reaches_the_store_byte_for_byte():
    site = UploadSite()
    content = bytes(range(256)) * 20_000

    reply = site.upload(upload_form(content, sha256_digest=hashlib.sha256(content).hexdigest().upper()))

    assert (reply.status, reply.text) == (200, f"Published {NAME}.\n")
    assert site.store.files == {NAME: content}
    assert site.store.uploads[0].by == "alice"
    assert site.store.left == 0


@pytest.mark.parametrize("path", ["/legacy/", "/legacy", "/", "/simple/", "/below/a/prefix/legacy/"])
def test_each_url_takes_uploads(path: str):
    site = UploadSite()
    assert site.upload(upload_form(), path=path).status == 200


def test_the_action_may_stand_in_the_query():
    site = UploadSite()
    body = form(part("content", b"wheel", NAME))
    assert site.upload(body, path="/legacy/?%3Aaction=file_upload").status == 200


def test_the_same_bytes_again_are_a_success_and_are_told_apart():
    site = UploadSite()
    site.upload(upload_form())
    reply = site.upload(upload_form())
    assert (reply.status, reply.text) == (200, f"{NAME} already exists with identical content.\n")


def test_other_bytes_of_that_name_are_a_conflict_in_reason_and_body():
    site = UploadSite()
    site.upload(upload_form())
    connection = site.connect()
    connection.ask(
        "/legacy/",
        method="POST",
        headers={"Content-Type": "multipart/form-data; boundary=a-boundary", "Authorization": ALICE},
        body=upload_form(b"other"),
    )
    assert connection.received.startswith(b"HTTP/1.1 409 File already exists: demo-1.0")
    assert connection.responses()[0].text.startswith("File already exists: ")


def test_the_reason_of_a_refusal_is_one_line_of_latin_1():
    site = UploadSite()
    connection = site.connect()
    connection.ask(
        "/legacy/",
        method="POST",
        headers={"Content-Type": "multipart/form-data; boundary=a-boundary", "Authorization": ALICE},
        body=upload_form(filename="d\u00e9\u4e2dmo.whl"),
    )
    status_line = connection.received.split(b"\r\n")[0]
    assert status_line.startswith(b"HTTP/1.1 400 d??mo.whl: The file name contains characters beyond ASCII.")
    assert len(status_line) < 250


def test_json_is_what_uv_reads():
    reply = UploadSite().upload(upload_form(name="other"), headers={"Accept": UV_ACCEPT})
    assert reply.headers["Content-Type"] == "application/json"
    document = json.loads(reply.body)
    assert document == {
        "message": f"name is other, but {NAME} is a file of demo; build the file again.",
        "code": f"400 name is other, but {NAME} is a file of demo; build the file again.",
        "title": "Bad Request",
    }


ARMORED = b"-----BEGIN PGP SIGNATURE-----\n\niQEzBAAB\n=abcd\n-----END PGP SIGNATURE-----\n"


def signed(signature: bytes, name: str = f"{NAME}.asc") -> bytes:
    return form(ACTION, part("gpg_signature", signature, name), part("content", b"wheel", NAME))


@pytest.mark.parametrize(
    "signature",
    [
        ARMORED,
        ARMORED.rstrip(),
        ARMORED + b"\n \r\n",
        ARMORED.replace(b"\n", b"\r\n"),
        ARMORED.replace(b"-----\n\n", b"-----\nVersion: GnuPG v1.4\nComment: a: b\n\n"),
        ARMORED.replace(b"=abcd\n", b""),
    ],
    ids=["gpg", "no line end", "empty lines", "windows", "headers", "no checksum"],
)
def test_a_signature_comes_with_its_file(signature: bytes):
    site = UploadSite()
    assert site.upload(signed(signature)).status == 200
    assert site.store.uploads[0].signature == signature


@pytest.mark.parametrize(
    "signature",
    [
        b"-----BEGIN PGP SIGNATURE-----",
        b"x" + ARMORED,
        b"See below:\n" + ARMORED,
        ARMORED + b"and more\n",
        ARMORED + ARMORED,
        ARMORED.replace(b"iQEzBAAB\n=abcd\n", b""),
        ARMORED.replace(b"iQEz", b"<b>!"),
        ARMORED.replace(b"SIGNATURE", b"MESSAGE"),
        ARMORED.replace(b"SIGNATURE", b"PUBLIC KEY BLOCK"),
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nhello\n" + ARMORED,
        b"\x89\x013\x04\x00\x01\x08\x00\x1d",
    ],
)
def test_what_is_not_an_armored_signature_from_first_to_last_line_is_refused(signature: bytes):
    reply = UploadSite().upload(signed(signature))
    assert (reply.status, reply.text) == (
        400,
        f"{NAME}.asc is not one armored signature from its first line to its last;"
        " make it with gpg --armor --detach-sign.\n",
    )


@pytest.mark.parametrize(
    "name", ["other-1.0-py3-none-any.whl.asc", NAME, f"{NAME}.sig", f"x/{NAME}.asc", "sig"]
)
def test_the_signature_of_another_file_is_refused(name: str):
    site = UploadSite()
    reply = site.upload(signed(ARMORED, name))
    assert (reply.status, site.store.files) == (400, {})
    assert reply.text.startswith(f"gpg_signature is named {name}, which is not the signature of {NAME}; send")


@pytest.mark.parametrize(
    ("as_user", "filename", "status", "may_create"),
    [
        (ALICE, NAME, 200, True),
        (CAROL, NAME, 200, False),
        (CAROL, "other-1.0.tar.gz", 403, None),
        (BOB, NAME, 403, None),
        (None, NAME, 401, None),
        ("Basic d3Jvbmc6cHc=", NAME, 401, None),
    ],
)
def test_rights_are_looked_at(as_user, filename, status, may_create):
    site = UploadSite()
    reply = site.upload(upload_form(filename=filename), as_user=as_user)
    assert reply.status == status
    assert [upload.may_create for upload in site.store.uploads] == (
        [] if may_create is None else [may_create]
    )
    assert ("WWW-Authenticate" in reply.headers) is (status == 401)
    assert site.store.left == 0


def test_anyone_may_where_anyone_may():
    site = UploadSite(access=MemoryAccess(anyone=True, has_users=False))
    assert site.upload(upload_form(), as_user=None).status == 200
    assert site.store.uploads[0].by == "anyone"


def test_uploads_that_are_off_say_how_to_turn_them_on():
    reply = UploadSite(upload_settings=UploadSettings()).upload(upload_form())
    assert reply.status == 403
    assert "start the server with --upload" in reply.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://index.test"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_a_page_of_another_site_uploads_nothing(headers, status):
    site = UploadSite()
    assert site.upload(upload_form(), headers=headers).status == status
    assert len(site.store.files) == (status == 200)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary="a\x01b"', 400),
        ("multipart/form-data; boundary=" + "b" * 300, 400),
        ("multipart/mixed; boundary=a-boundary", 415),
        ("MULTIPART/Form-Data ; Boundary=a-boundary", 200),
        ('multipart/form-data; charset=utf-8; boundary="a-boundary"', 200),
    ],
)
def test_only_a_form_is_an_upload(kind: str, status: int):
    site = UploadSite()
    assert site.upload(upload_form(), headers={"Content-Type": kind}).status == status
    assert site.store.left == 0


def test_a_post_without_a_body_is_told_what_is_missing():
    site = UploadSite()
    assert site.upload(b"").status == 400
    assert site.upload(b"", headers={"Content-Length": "0"}).status == 400


class _Refusing(MemoryStore):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def publish(self, upload):
        upload.spool.close()
        raise self._error


@pytest.mark.parametrize("error", [Forbidden("demo is archived."), InsufficientStorage("The disk is full.")])
def test_what_the_store_says_is_passed_on(error):
    site = UploadSite(_Refusing(error))
    reply = site.upload(upload_form())
    assert (reply.status, reply.text) == (error.status, f"{error.message}\n")
    assert site.store.left == 0


class _Full(MemoryStore):
    def spool(self):
        raise InsufficientStorage("The disk is full.")


def test_a_store_without_room_is_told_before_the_end():
    assert UploadSite(_Full()).upload(upload_form()).status == 507


def test_get_requests_go_on_as_before():
    assert UploadSite().get("/legacy/").text == "here\n"
