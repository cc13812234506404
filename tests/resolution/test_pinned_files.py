"""Which files of a page stand for a pin."""

from __future__ import annotations

import pytest

from twisted_index.backends.upstream.remote import RemoteFile, RemotePage
from twisted_index.resolution.pinned_files import Formats, PinnedFiles, choose_files
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.targets import target
from twisted_index.simple.model import File

WINDOWS, LINUX = target("3.12", "win_amd64"), target("3.12", "manylinux_2_28_x86_64")
PIN = Pin(project="demo", version="1.0")
WIN, LIN = "demo-1.0-cp312-cp312-win_amd64.whl", "demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
SDIST, ZIP = "demo-1.0.tar.gz", "demo-1.0.zip"


def page(*names: str, **more) -> RemotePage:
    files = tuple(
        RemoteFile(
            file=File(filename=name, version=more.get("version", "1.0"), hashes={"sha256": f"{number:064}"}),
            url=f"https://example.org/{name}",
        )
        for number, name in enumerate(names)
    )
    return RemotePage(project="demo", files=files)


def choose(found: RemotePage | None, pin: Pin = PIN, *options: str, sdists: bool = False) -> PinnedFiles:
    return choose_files(pin, found, [WINDOWS, LINUX], Formats(options), sdists=sdists)


def names(chosen: PinnedFiles) -> set[str]:
    return {remote.file.filename for remote in chosen.files}


def test_each_target_has_its_wheel_and_no_more():
    chosen = choose(page(SDIST, WIN, LIN, "demo-1.0-cp313-cp313-win_amd64.whl"))

    assert names(chosen) == {WIN, LIN}
    assert chosen.missing == ()


def test_targets_without_a_wheel_build_the_sdist():
    chosen = choose(page(ZIP, SDIST, WIN))

    assert names(chosen) == {WIN, SDIST}
    assert [targets for _sdist, targets in chosen.sdists] == [(LINUX,)]


def test_sdists_can_be_taken_beside_wheels():
    chosen = choose(page(SDIST, WIN, LIN), sdists=True)

    assert names(chosen) == {WIN, LIN, SDIST}
    assert [targets for _sdist, targets in chosen.sdists] == [(WINDOWS, LINUX)]


def test_a_version_is_found_in_any_spelling():
    assert names(choose(page(WIN, LIN), Pin(project="demo", version="1"))) == {WIN, LIN}


@pytest.mark.parametrize("options", [("--only-binary", ":all:"), ("--only-binary", "other,Demo")])
def test_without_sdists_a_target_without_a_wheel_is_missing(options):
    chosen = choose(page(SDIST, WIN), PIN, *options)

    assert names(chosen) == {WIN}
    assert chosen.missing == (
        "demo 1.0: no file that may be taken fits Python 3.12 on manylinux_2_28_x86_64.",
    )


def test_without_wheels_the_sdist_is_taken():
    assert names(choose(page(SDIST, WIN, LIN), PIN, "--no-binary", "demo")) == {SDIST}


@pytest.mark.parametrize(
    ("options", "wheel", "sdist"),
    [
        ((), True, True),
        (("--only-binary", ":all:", "--no-binary", "demo"), False, True),
        (("--no-binary", "demo", "--only-binary", ":all:"), True, False),
        (("--no-binary", "demo", "--only-binary", "demo"), True, False),
        (("--only-binary", "demo,:none:"), True, True),
        (("--only-binary", ":all:", "--only-binary", ":none:"), True, True),
        (("--only-binary", "other"), True, True),
        (("--pre", "--only-binary", "demo"), True, False),
    ],
)
def test_of_options_about_formats_the_last_counts_as_for_pip(options, wheel, sdist):
    formats = Formats(options)

    assert (formats.allow_wheel("demo"), formats.allow_sdist("demo")) == (wheel, sdist)


def test_options_are_passed_on_one_name_each():
    assert Formats(["--only-binary", "a,B_c"]).words() == ["--only-binary", "a", "--only-binary", "b-c"]


def test_only_files_with_a_pinned_digest_are_taken():
    pin = Pin(project="demo", version="1.0", hashes=frozenset({f"sha256:{1:064}"}))

    assert names(choose(page(SDIST, WIN, LIN), pin)) == {WIN}


@pytest.mark.parametrize(
    ("found", "pin", "sentence"),
    [
        (None, PIN, "demo: the index has no such project."),
        (page(WIN, version="2.0"), PIN, "demo 1.0: the index has no file of this version."),
        (
            page(WIN),
            Pin(project="demo", version="1.0", hashes=frozenset({"sha256:ff"})),
            "demo 1.0: no file of the index has one of the pinned digests.",
        ),
    ],
)
def test_what_the_index_lacks_is_one_sentence(found, pin, sentence):
    assert choose(found, pin) == PinnedFiles(missing=(sentence,))
