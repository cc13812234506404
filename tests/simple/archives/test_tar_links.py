"""A PKG-INFO that is a link is the member of the same archive to which that leads, if there is one."""

from __future__ import annotations

import io
import itertools
import tarfile

import pytest

from twisted_index.simple.archives import tar
from twisted_index.simple.archives.limits import MAX_LINKS, MAX_METADATA
from twisted_index.simple.archives.tar_links import SymlinkTable
from twisted_index.simple.core_metadata import BadArchive, NoMetadata

from .samples import DOCUMENT, TAR_MODES, read_sdist, tar_member

HARD, SYMBOLIC = tarfile.LNKTYPE, tarfile.SYMTYPE
TOP = "demo-1.0/PKG-INFO"


def tar_of(*members: tuple[str, bytes] | tuple[str, bytes, str], mode: str = "gz", form: int = 2) -> bytes:
    """Make a tar of files (name, content) and of links (name, kind, target), in this order."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{mode}", format=form) as archive:  # type: ignore[call-overload]
        for name, content, *target in members:
            info, body = tar_member(name, b"" if target else content)
            if target:
                info.type, info.linkname = content, target[0]
            archive.addfile(info, body)
    return made.getvalue()


@pytest.mark.parametrize("extension", TAR_MODES)
@pytest.mark.parametrize("kind", [HARD, SYMBOLIC])
@pytest.mark.parametrize("first", ["link", "target"])
def test_a_link_leads_to_a_member_before_or_behind_it(extension: str, kind: bytes, first: str) -> None:
    target = "demo-1.0/src/demo.egg-info/PKG-INFO"
    members = [(TOP, kind, target if kind == HARD else "src/demo.egg-info/PKG-INFO"), (target, DOCUMENT)]
    ordered = members if first == "link" else members[::-1]
    content = tar_of(*ordered, ("demo-1.0/setup.py", b"x" * 5000), mode=TAR_MODES[extension])
    assert read_sdist(content, extension) == DOCUMENT


@pytest.mark.parametrize(
    "target",
    [
        "real",
        "./real",
        ".//./real",
        "../demo-1.0/real",
        "sub/../real",
        "sub/../../demo-1.0/real",
        "folder/../real",  # through a link, to what lies beside the folder that it leads to
    ],
)
def test_a_symbolic_link_starts_in_its_own_folder(target: str) -> None:
    content = tar_of(
        ("demo-1.0/sub/x", b""), ("demo-1.0/folder", SYMBOLIC, "sub"), (TOP, SYMBOLIC, target),
        ("demo-1.0/real", DOCUMENT),
    )  # fmt: skip
    assert read_sdist(content) == DOCUMENT


@pytest.mark.parametrize("target", ["demo-1.0/real", "./demo-1.0/real", "/demo-1.0/real"])
def test_a_hard_link_starts_at_the_root_of_the_archive(target: str) -> None:
    """Where unpackers strip a leading slash, as they do for every name of a member."""
    assert read_sdist(tar_of(("./demo-1.0/real", DOCUMENT), (TOP, HARD, target))) == DOCUMENT


def test_links_through_links_to_folders_and_files_are_followed() -> None:
    content = tar_of(
        (TOP, SYMBOLIC, "meta/info"),
        ("demo-1.0/meta", SYMBOLIC, "../other/inner/"),
        ("other/inner/info", HARD, "other/real"),
        ("other/real", SYMBOLIC, "../demo-1.0/PKG-INFO.in"),
        ("demo-1.0/PKG-INFO.in", DOCUMENT),
    )
    assert read_sdist(content) == DOCUMENT


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", [HARD, SYMBOLIC])
def test_a_target_beyond_the_old_limit_is_followed(form: int, kind: bytes) -> None:
    folder = "d" * 150
    target = f"demo-1.0/{folder}/info" if kind == HARD else f"{folder}/info"
    content = tar_of((f"demo-1.0/{folder}/info", DOCUMENT), (TOP, kind, target), form=form)
    assert read_sdist(content) == DOCUMENT


@pytest.mark.parametrize("kind", [HARD, SYMBOLIC])
@pytest.mark.parametrize(
    "target",
    [
        "nowhere",
        "",
        "PKG-INFO",
        TOP,
        "sub",  # a folder
        "../../demo-1.0/real",
        "../../../../etc/passwd",
        "/etc/passwd",
        "sub/../../..",
        "circle",
        "device",
    ],
)
def test_a_link_that_leads_to_no_file_of_the_archive_is_no_pkg_info(kind: bytes, target: str) -> None:
    content = tar_of(
        ("demo-1.0/real", DOCUMENT),
        ("demo-1.0/sub/", b""),
        ("demo-1.0/device", tarfile.CHRTYPE, ""),
        ("demo-1.0/circle", SYMBOLIC, "elcric"),
        ("demo-1.0/elcric", SYMBOLIC, "circle"),
        (TOP, kind, target),
    )
    with pytest.raises(NoMetadata, match="holds no PKG-INFO"):
        read_sdist(content)


def test_an_absolute_symbolic_link_is_none_even_if_the_archive_has_such_a_path() -> None:
    with pytest.raises(NoMetadata):
        read_sdist(tar_of(("demo-1.0/real", DOCUMENT), (TOP, SYMBOLIC, "/demo-1.0/real")))


def test_the_last_member_of_a_name_counts_be_it_link_or_file() -> None:
    real, other = ("demo-1.0/real", DOCUMENT), ("demo-1.0/other", b"Name: other\n")
    assert read_sdist(tar_of(real, other, (TOP, SYMBOLIC, "other"), (TOP, SYMBOLIC, "real"))) == DOCUMENT
    assert read_sdist(tar_of(other, (TOP, SYMBOLIC, "other"), (TOP, DOCUMENT))) == DOCUMENT
    assert read_sdist(tar_of(real, (TOP, b"Name: old\n"), (TOP, HARD, "demo-1.0/real"))) == DOCUMENT
    once_a_link = ("demo-1.0/real", SYMBOLIC, "other")
    assert read_sdist(tar_of(once_a_link, other, (TOP, SYMBOLIC, "real"), real)) == DOCUMENT


def test_an_archive_of_links_is_read_at_most_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = []
    real = tar._read_through
    monkeypatch.setattr(tar, "_read_through", lambda *a, **k: reading.append(1) or real(*a, **k))
    chain = [(f"demo-1.0/{n}", SYMBOLIC, str(n + 1)) for n in range(30)]
    assert read_sdist(tar_of((TOP, SYMBOLIC, "0"), *chain, ("demo-1.0/30", DOCUMENT))) == DOCUMENT
    assert len(reading) == 2


def test_a_link_to_a_member_of_too_many_bytes_is_no_pkg_info() -> None:
    with pytest.raises(NoMetadata):
        read_sdist(tar_of((TOP, SYMBOLIC, "big"), ("demo-1.0/big", bytes(MAX_METADATA + 1))))


def test_an_archive_cut_behind_a_link_and_its_target_is_still_refused() -> None:
    content = tar_of(("demo-1.0/real", DOCUMENT), (TOP, SYMBOLIC, "real"), ("demo-1.0/x", bytes(9000)))
    for length in range(0, len(content), 7):
        with pytest.raises(BadArchive, match="copied only in part") as caught:
            read_sdist(content[:length])
        assert not isinstance(caught.value, NoMetadata)


def test_more_hops_than_a_system_follows_lead_nowhere() -> None:
    links = SymlinkTable()
    for hop in range(50):
        links.put(b"%d" % hop, b"%d" % (hop + 1), symbolic=True)
    assert links.resolve(b"10") == b"50"
    assert links.resolve(b"9") is None


def test_what_links_may_take_is_bounded_and_the_first_are_kept() -> None:
    links = SymlinkTable()
    links.put(b"a", b"b", symbolic=True)
    name = b"n" * 4000
    for number in range(MAX_LINKS // 4000 + 10):
        links.put(b"%d" % number + name, b"b", symbolic=True)
    assert links.resolve(b"a") == b"b"
    assert sum(map(len, itertools.chain.from_iterable(links._targets.items()))) <= MAX_LINKS


@pytest.mark.parametrize("path", [b"a/" * 500_000, b"../" * 300_000, b"./" * 500_000, b"/" * 1_000_000])
def test_a_path_that_no_system_has_leads_nowhere(path: bytes) -> None:
    links = SymlinkTable()
    links.put(b"demo/PKG-INFO", path, symbolic=True)
    assert links.resolve(b"demo/PKG-INFO") is None
