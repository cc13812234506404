"""pip and uv install from a live server what they install from a folder, old and odd as it is."""

from __future__ import annotations

import io
import tarfile

import pytest

from twisted_index.testing import make_sdist, make_wheel

pytestmark = pytest.mark.places

SDIST = make_sdist("demo", "1.0")
PKG_INFO = "demo-1.0/PKG-INFO"


def repacked(change) -> bytes:
    """Write the sdist again, as `change` makes of its members."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(SDIST.content)) as old,
        tarfile.open(fileobj=made, mode="w:gz") as new,
    ):
        for member in old:
            for info in change(member):
                new.addfile(info, old.extractfile(member) if info.isreg() else None)
    return made.getvalue()


def without_pkg_info(member):
    return [] if member.name == PKG_INFO else [member]


def without_top_folder(member):
    return [] if member.name == PKG_INFO else [member.replace(name=member.name.partition("/")[2])]


def with_a_link(kind):
    def change(member):
        if member.name != PKG_INFO:
            return [member]
        real = member.replace(name="demo-1.0/demo.egg-info")
        link = tarfile.TarInfo(PKG_INFO)
        link.type = kind
        link.linkname = real.name if kind == tarfile.LNKTYPE else "demo.egg-info"
        return [real, link]

    return change


CHANGES = {
    "no PKG-INFO": without_pkg_info,
    "no top folder": without_top_folder,
    "a hard link": with_a_link(tarfile.LNKTYPE),
    "a symbolic link": with_a_link(tarfile.SYMTYPE),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_an_old_sdist_is_built_and_installed(installer, server, folder, kind):
    (folder / SDIST.filename).write_bytes(repacked(CHANGES[kind]))

    assert installer.install("--index-url", server.simple, "demo") == {"demo-1.0"}


LATIN = make_wheel(
    "demo", "1.0", metadata=b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nAuthor: Andr\xe9\n"
)


def test_uv_installs_a_wheel_whose_metadata_is_not_utf_8(uv, server, folder):
    LATIN.write_to(folder)

    assert uv.install("--index-url", server.simple, "demo") == {"demo-1.0"}


def test_pip_says_what_is_wrong_with_metadata_that_is_not_utf_8(pip, server, folder):
    """It would end in a traceback, were it given the document."""
    LATIN.write_to(folder)
    outcome, _ = pip.try_to_install("--index-url", server.simple, "demo")

    assert outcome.code != 0
    assert "Error decoding metadata" in outcome.output
    assert "Traceback" not in outcome.output
