"""A check finds each fault of a folder, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twisted_index.backends.folder.folder_check import CheckReport, FolderCheck
from twisted_index.backends.folder.inspection_cache import CachedInspection, InspectionCache
from twisted_index.backends.layout.facts import FileFacts, StatKey
from twisted_index.files.stamps import StatValidator
from twisted_index.simple.archives.limits import MAX_DOCUMENT
from twisted_index.testing import BuiltFile, make_sdist, make_wheel

WHEEL = make_wheel("acme", "1.0", files={"acme/__init__.py": bytes(range(256)) * 200}, compress=False)
SDIST = make_sdist("acme", "1.0")
SHA = "0" * 64


def provenance(filename: str, sha256: str) -> bytes:
    statement = {"subject": [{"name": filename, "digest": {"sha256": sha256}}]}
    envelope = {"statement": base64.b64encode(json.dumps(statement).encode()).decode()}
    return json.dumps(
        {"version": 1, "attestation_bundles": [{"attestations": [{"envelope": envelope}]}]}
    ).encode()


def copy_line(name: str, sha256: str, size: int) -> str:
    return f"{sha256}  {size}  2026-01-01T00:00:00Z  {name}  https://example.com/{name}\n"


def make_clean(root: Path) -> None:
    """Fill a folder with one of everything that is no fault."""
    folder = root / "acme"
    for made in (WHEEL, SDIST):
        made.write_to(folder)
        (folder / f"{made.filename}.provenance").write_bytes(provenance(made.filename, made.sha256))
        (folder / f"{made.filename}.asc").write_text("signature")
        (folder / f"{made.filename}.sha256").write_text("beside it")
    (folder / f"{SDIST.filename}.yanked").write_text("broken")
    (folder / ".deleted").write_text(f"# gone\n{SHA}  10  2026-01-01T00:00:00Z  acme-0.9.tar.gz  old\n")
    (folder / ".copies").write_text(f"# copies\n{copy_line(SDIST.filename, SDIST.sha256, SDIST.size)}")
    (folder / ".deprecated").write_text("use demo")
    make_wheel("flat", "1.0").write_to(root)
    make_wheel("flat", "1.0", tag="cp312-cp312-win_amd64").write_to(root)
    make_sdist("flat", "2.0", extension=".zip").write_to(root)
    (root / ".uploads").mkdir()
    (root / ".uploads" / "upload_1").write_text("still arriving")
    (root / "README.txt").write_text("hello")


class Site:
    """A folder, a second one, and what was learned of the files in them."""

    def __init__(self, path: Path) -> None:
        self.root, self.second = path / "packages", path / "second"
        self.folder = self.root / "acme"
        self.root.mkdir()
        self.second.mkdir()
        self.cache = InspectionCache(None)
        self.pauses: list[float] = []
        self.while_pausing: Callable[[], object] = lambda: None

    def check(self, *wanted: str, young: bool = False) -> CheckReport:
        """Check both; all files are old enough unless `young`."""

        def pause(seconds: float) -> None:
            self.pauses.append(seconds)
            self.while_pausing()

        later = 0 if young else 60
        return FolderCheck(
            [os.fsencode(self.root), os.fsencode(self.second)],
            self.cache,
            pause=pause,
            validator=StatValidator(wall=lambda: time.time() + later),
        ).run(wanted)

    def found(self, *wanted: str) -> list[tuple[str, str]]:
        return [(problem.path, problem.reason) for problem in self.check(*wanted).problems]

    def learn(self, path: Path, sha256: str, *, verified: bool = True) -> None:
        """Let it be known of a file, as it is now, that its digest was this."""
        facts = CachedInspection(FileFacts(sha256=sha256, verified=verified))
        key = StatKey.from_stat(path.stat())
        self.cache.put(os.fsencode(path.parent), [(os.fsencode(path.name), key, facts)])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    make_clean(site.root)
    yield site
    site.cache.close()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def _rot(site: Site) -> None:
    """Let the bytes of a plain tar change, which no checksum in it shows."""
    made = make_sdist("acme", "3.0", extension=".tar", files={"a.py": "x = 1\n"})
    path = made.write_to(site.folder)
    path.write_bytes(made.content.replace(b"Metadata-Version: 2.2", b"Metadata-Version: 2.3"))
    site.learn(path, made.sha256)


def _rot_wheel(site: Site) -> None:
    path = site.folder / WHEEL.filename
    _flip(path, 1000)
    site.learn(path, WHEEL.sha256)


def _deep(site: Site) -> None:
    make_wheel("other", "1.0").write_to(site.folder / "old")


def _abandon(site: Site) -> None:
    os.utime(site.root / ".uploads" / "upload_1", (1, 1))


def _twice(site: Site, where: Path, *, other: bool = False) -> None:
    made = make_wheel("acme", "1.0", files={"other.py": "x"}) if other else WHEEL
    _write(where / WHEEL.filename, made.content)


def _put(name: str, content: bytes = b"") -> Callable[[Site], object]:
    return lambda site: _write(site.folder / name, content)


def _make(made: BuiltFile) -> Callable[[Site], object]:
    return lambda site: made.write_to(site.folder)


def _cut(made: BuiltFile, by: int) -> Callable[[Site], object]:
    return _put(made.filename, made.content[:-by])


def _bad_crc(site: Site) -> None:
    content = bytearray(gzip.decompress(SDIST.content))
    packed = bytearray(gzip.compress(bytes(content), mtime=0))
    packed[-5] ^= 1
    _write(site.folder / "acme-4.0.tar.gz", bytes(packed))


OLD = make_wheel("acme", "5.0")
BIG = make_wheel("big", "1.0")
CHANGED = "Its content has changed, but its size and times have not: "
NO_FILE = "No file here has this sidecar."

#: What goes wrong, where it is reported, and how the sentence begins.
FAULTS: dict[str, tuple[Callable[[Site], Any], str, str]] = {
    "a flipped bit in a wheel": (
        lambda site: _flip(site.folder / WHEEL.filename, 1000),
        f"acme/{WHEEL.filename}",
        "The file's member acme/__init__.py is damaged",
    ),
    "a wheel cut off": (
        _cut(OLD, 30),
        f"acme/{OLD.filename}",
        "The file is not a zip archive, or was copied",
    ),
    "an sdist cut off": (_cut(make_sdist("acme", "6.0"), 30), "acme/acme-6.0.tar.gz", "The file is"),
    "a wrong checksum of gzip": (_bad_crc, "acme/acme-4.0.tar.gz", "The file is"),
    "an empty wheel": (_put(OLD.filename), f"acme/{OLD.filename}", "The file is"),
    "no wheel at all": (_put(OLD.filename, b"<html>404</html>"), f"acme/{OLD.filename}", "The file is"),
    "a wheel without METADATA": (
        _put(OLD.filename, make_wheel("x", "1").content.replace(b"METADATA", b"METADATE")),
        f"acme/{OLD.filename}",
        "The file holds no .dist-info/METADATA",
    ),
    "a wheel that says another name": (
        _put(OLD.filename, make_wheel("other", "5.0").content),
        f"acme/{OLD.filename}",
        "The file's metadata has Name 'other', but its file name says 'acme'.",
    ),
    "a wheel that says another version": (
        _put(OLD.filename, make_wheel("acme", "5.1").content),
        f"acme/{OLD.filename}",
        "The file's metadata has Version '5.1', but its file name says '5.0'.",
    ),
    "an sdist that says another version": (
        _put("acme-7.0.tar.gz", SDIST.content),
        "acme/acme-7.0.tar.gz",
        "The file's metadata has Version '1.0', but its file name says '7.0'.",
    ),
    "METADATA that is not UTF-8": (
        _make(make_wheel("acme", "5.0", metadata=b"Name: acme\nVersion: 5.0\nSummary: \xff\n")),
        f"acme/{OLD.filename}",
        "Its METADATA is not UTF-8",
    ),
    "bytes that changed by themselves": (_rot, "acme/acme-3.0.tar", f"{CHANGED}sha256 was "),
    "bytes of a wheel that changed by themselves": (
        _rot_wheel,
        f"acme/{WHEEL.filename}",
        f"{CHANGED}The file's member acme/__init__.py is damaged",
    ),
    "a file in another project's folder": (
        _make(make_wheel("other", "1.0")),
        "acme/other-1.0-py3-none-any.whl",
        "It belongs to the project other",
    ),
    "a sidecar in another project's folder": (
        _put("other-1.0.tar.gz.yanked"),
        "acme/other-1.0.tar.gz.yanked",
        "It belongs to the project other",
    ),
    "a file in a folder that is not served": (
        _deep,
        "acme/old/other-1.0-py3-none-any.whl",
        "It is in a folder that is not served.",
    ),
    "an extension in upper case": (
        _put("acme-5.0.TAR.GZ"),
        "acme/acme-5.0.TAR.GZ",
        "The extension is in upper case",
    ),
    "an egg": (_put("acme-5.0-py3.11.egg"), "acme/acme-5.0-py3.11.egg", "This is an egg"),
    "a wheel's name without tags": (
        _put("acme-5.0.whl"),
        "acme/acme-5.0.whl",
        "A wheel's name has five or six parts",
    ),
    "a version that is none": (
        _put("acme-new-py3-none-any.whl"),
        "acme/acme-new-py3-none-any.whl",
        '"new" is not a version',
    ),
    "the same file in another spelling": (
        lambda site: _write(site.folder / "Acme-1.0.0-py3-none-any.whl", WHEEL.content),
        f"acme/{WHEEL.filename}",
        "It is there twice: acme/Acme-1.0.0-py3-none-any.whl has the same content",
    ),
    "another file of the same name in another spelling": (
        lambda site: _write(site.folder / "Acme-1.0.0-py3-none-any.whl", make_wheel("acme", "1.0").content),
        f"acme/{WHEEL.filename}",
        "acme/Acme-1.0.0-py3-none-any.whl has different content for the same release",
    ),
    "the same file in another root": (
        lambda site: _twice(site, site.second / "acme"),
        f"acme/{WHEEL.filename}",
        f"It is there twice: acme/{WHEEL.filename} in ",
    ),
    "another file of the same name in another root": (
        lambda site: _twice(site, site.second, other=True),
        WHEEL.filename,
        f"acme/{WHEEL.filename} has different content for the same release",
    ),
    "a yank without a file": (_put("acme-8.0.tar.gz.yanked"), "acme/acme-8.0.tar.gz.yanked", NO_FILE),
    "a signature without a file": (_put("acme-8.0.tar.gz.asc"), "acme/acme-8.0.tar.gz.asc", NO_FILE),
    "a sidecar that is a link": (
        lambda site: (
            BIG.write_to(site.root / "big"),
            (site.root / "big" / f"{BIG.filename}.asc").symlink_to(site.root / "README.txt"),
        ),
        f"big/{BIG.filename}.asc",
        "A sidecar must not be a link, a folder or a device.",
    ),
    "a sidecar that is too large": (
        lambda site: (
            BIG.write_to(site.root / "big"),
            _write(site.root / "big" / f"{BIG.filename}.asc", bytes(MAX_DOCUMENT + 1)),
        ),
        f"big/{BIG.filename}.asc",
        "It is not served: it is unreadable, or has more than",
    ),
    "provenance of other bytes": (
        _put(f"{WHEEL.filename}.provenance", provenance(WHEEL.filename, SHA)),
        f"acme/{WHEEL.filename}.provenance",
        f"It attests a file of another digest, {SHA}.",
    ),
    "provenance of another file": (
        _put(f"{WHEEL.filename}.provenance", provenance(SDIST.filename, WHEEL.sha256)),
        f"acme/{WHEEL.filename}.provenance",
        "It is no provenance of this file.",
    ),
    "provenance that is none": (
        _put(f"{WHEEL.filename}.provenance", b"[" * 100_000),
        f"acme/{WHEEL.filename}.provenance",
        "It is no provenance of this file.",
    ),
    "a deleted file that is back": (
        lambda site: (make_sdist("acme", "0.9").write_to(site.folder),),
        "acme/acme-0.9.tar.gz",
        "A file of this name was deleted, and its name stays taken.",
    ),
    "a line of .deleted that is none": (
        _put(".deleted", b"acme-0.8.tar.gz\n"),
        "acme/.deleted",
        "1 of its lines take no name",
    ),
    "tombstones in no project's folder": (
        lambda site: _write(site.root / ".deleted", b""),
        ".deleted",
        "It is in no project's folder",
    ),
    "a line of .copies that is none": (
        _put(".copies", b"?\n"),
        "acme/.copies",
        "1 of its lines record nothing",
    ),
    "a list of copies in no project's folder": (
        lambda site: _write(site.root / ".copies", b""),
        ".copies",
        "It is in no project's folder, where it records no copy.",
    ),
    "a list of copies that is a link": (
        lambda site: (
            BIG.write_to(site.root / "big"),
            (site.root / "big" / ".copies").symlink_to(site.root / "README.txt"),
        ),
        "big/.copies",
        "It cannot be read, so that no file here counts as a copy:",
    ),
    "a copy with other bytes than were recorded": (
        _put(".copies", copy_line(WHEEL.filename, SHA, WHEEL.size).encode()),
        f"acme/{WHEEL.filename}",
        "It differs from what was recorded as a copy of https://example.com/",
    ),
    "a status that is misspelled": (_put(".Archived"), "acme/.Archived", "Its name resembles .archived"),
    "a status that is a link": (
        lambda site: (site.folder / ".quarantined").symlink_to(site.root / "README.txt"),
        "acme/.quarantined",
        "It has no effect: it is a link, a folder or a device.",
    ),
    "a folder that leads nowhere": (
        lambda site: (site.root / "lost").symlink_to(site.root / "unmounted"),
        "lost/",
        "This folder cannot be read: No such file or directory",
    ),
    "a file that leads nowhere": (
        lambda site: (site.folder / OLD.filename).symlink_to(site.root / "unmounted"),
        f"acme/{OLD.filename}",
        "It is a link that cannot be followed: No such file or directory.",
    ),
    "a folder with a wheel's name": (
        lambda site: (site.folder / OLD.filename).mkdir(),
        f"acme/{OLD.filename}",
        "It is not a regular file.",
    ),
    "unfinished uploads": (
        _abandon,
        ".uploads/",
        "It holds 1 unfinished upload of a server that was killed.",
    ),
    "a source tree": (
        lambda site: _write(site.root / "tree" / "pyproject.toml", b""),
        "tree/",
        "It holds a source tree (pyproject.toml)",
    ),
    "an unfinished download": (
        _put("acme-5.0-py3-none-any.whl.crdownload"),
        "acme/acme-5.0-py3-none-any.whl.crdownload",
        "",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_nothing_else(site: Site, fault: str):
    plant, path, reason = FAULTS[fault]
    plant(site)
    ((found, sentence),) = site.found()
    assert (found, sentence[: len(reason)]) == (path, reason)


def test_a_folder_without_faults_has_no_problems(site: Site):
    report = site.check()
    assert report.problems == ()
    assert (report.complete, report.unsettled, report.interrupted) == (True, (), False)
    assert (report.projects, report.files) == ({"acme", "flat"}, 5)


def test_a_large_folder_without_faults_has_no_problems(site: Site):
    for number in range(300):
        for made in (make_wheel(f"p-{number}", "1.0"), make_sdist(f"p-{number}", "1.0")):
            made.write_to(site.root / f"p-{number}")
    report = site.check()
    assert report.problems == ()
    assert (len(report.projects), report.files) == (302, 605)


def test_all_faults_at_once_are_sorted(site: Site):
    for fault in ("an egg", "a source tree", "a folder that leads nowhere", "unfinished uploads"):
        FAULTS[fault][0](site)
    assert [path for path, _ in site.found()] == [".uploads/", "acme/acme-5.0-py3.11.egg", "lost/", "tree/"]


# -- What was learned


def test_what_is_read_for_the_first_time_is_known_the_next_time(site: Site):
    assert site.found() == []
    folder, key = os.fsencode(site.folder), StatKey.from_stat((site.folder / WHEEL.filename).stat())
    known = site.cache.get(folder, {WHEEL.filename.encode(): key})[WHEEL.filename.encode()]
    assert isinstance(known.result, FileFacts)
    assert (known.result.sha256, known.result.verified, known.settled) == (WHEEL.sha256, True, True)


def test_what_was_learned_is_never_replaced(site: Site):
    path = site.folder / WHEEL.filename
    site.learn(path, SHA)
    assert site.found() == site.found() != []


def test_a_file_that_was_listed_before_it_was_verified_is_damaged_and_not_changed(site: Site):
    path = site.folder / WHEEL.filename
    _flip(path, 1000)
    site.learn(path, WHEEL.sha256, verified=False)
    ((_path, reason),) = site.found()
    assert reason.startswith("The file's member acme/__init__.py is damaged")


def test_a_file_that_was_replaced_is_not_compared_with_the_earlier_one(site: Site):
    site.learn(site.folder / WHEEL.filename, SHA)
    _write(site.folder / WHEEL.filename, make_wheel("acme", "1.0").content)
    (site.folder / f"{WHEEL.filename}.provenance").unlink()
    assert site.found() == []


# -- Some projects


def test_only_the_projects_that_are_named_are_checked(site: Site):
    for fault in ("an egg", "a source tree", "a line of .deleted that is none"):
        FAULTS[fault][0](site)
    assert site.found("flat") == []
    assert [path for path, _ in site.found("acme")] == ["acme/.deleted", "acme/acme-5.0-py3.11.egg"]
    assert site.check("flat").projects == {"flat"}


# -- Roots that cannot be read, and folders that change


def test_a_root_that_cannot_be_read_is_a_problem_and_the_others_are_checked(site: Site):
    site.second.rmdir()
    FAULTS["an egg"][0](site)
    report = site.check()
    assert [problem.path for problem in report.problems] == ["acme/acme-5.0-py3.11.egg", "second/"]
    assert not report.complete


def test_what_is_gone_or_whole_after_a_while_is_no_problem(site: Site):
    path = site.folder / OLD.filename
    path.write_bytes(OLD.content[:100])
    (site.folder / "acme-5.0-py3.11.egg").touch()

    def finish() -> None:
        path.write_bytes(OLD.content)
        (site.folder / "acme-5.0-py3.11.egg").unlink(missing_ok=True)

    site.while_pausing = finish
    report = site.check(young=True)
    assert report.problems == ()
    assert report.complete
    assert site.pauses == [2.0]


def test_a_project_that_keeps_changing_is_not_judged(site: Site):
    path = site.folder / OLD.filename
    path.write_bytes(b"1")
    make_sdist("flat", "9.0").write_to(site.root / "FLAT")
    site.while_pausing = lambda: path.write_bytes(path.read_bytes() + b"1")
    report = site.check(young=True)
    assert report.unsettled == ("acme",)
    assert report.problems == ()
    assert not report.complete


def test_nothing_in_the_folder_is_changed(site: Site):
    def state() -> list[tuple[str, int, int]]:
        paths = sorted(site.root.rglob("*"))
        return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in paths]

    before = state()
    site.check()
    assert state() == before
