"""Lock files of uv and by PEP 751: what they hold for a target, and what is wrong with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.resolution.lock_files import LockFile, is_lock_file, read_lock_file
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.targets import target
from twisted_index.resolution.uv import index_access, require_uv
from twisted_index.testing import RunningIndex

WINDOWS, LINUX = target("3.12", "win_amd64"), target("3.12", "manylinux_2_28_x86_64")
A, B = "a" * 64, "b" * 64

UV = f"""
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "acme"
version = "0.1.0"
source = {{ editable = "." }}
dependencies = [
    {{ name = "demo" }},
    {{ name = "fork", version = "1.0", marker = "sys_platform == 'win32'" }},
    {{ name = "fork", version = "2.0", marker = "sys_platform != 'win32'" }},
]
[package.optional-dependencies]
cpu = [{{ name = "for-cpu", marker = "extra == 'extra-4-acme-cpu'" }}]
[package.dev-dependencies]
dev = [{{ name = "tester" }}]

[[package]]
name = "demo"
version = "1.0"
source = {{ registry = "https://example.org/simple" }}
dependencies = [
    {{ name = "windows-only", marker = "sys_platform == 'win32'" }},
    {{ name = "with-extra", extra = ["more"] }},
]
sdist = {{ url = "https://example.org/demo-1.0.tar.gz", hash = "sha256:{A}", size = 1 }}
wheels = [{{ url = "https://example.org/demo-1.0-py3-none-any.whl", hash = "sha256:{B}", size = 1 }}]

[[package]]
name = "with-extra"
version = "1.0"
source = {{ registry = "https://example.org/simple" }}
[package.optional-dependencies]
more = [{{ name = "behind-extra" }}]
unused = [{{ name = "unneeded" }}]
"""
REGISTRY = """
[[package]]
name = "{0}"
version = "{1}"
source = {{ registry = "https://example.org/simple" }}
"""
PACKAGES = [
    ("windows-only", "1.0"),
    ("behind-extra", "1.0"),
    ("unneeded", "1.0"),
    ("for-cpu", "1.0"),
    ("tester", "1.0"),
    ("fork", "1.0"),
    ("fork", "2.0"),
]
GIT = (
    '\n[[package]]\nname = "vcs"\nversion = "1"\nsource = { git = "https://example.org/vcs?rev=main#0123" }\n'
)

PYLOCK = f"""
lock-version = "1.0"
created-by = "a test"
requires-python = ">=3.11"

[[packages]]
name = "demo"
version = "1.0"
sdist = {{ url = "https://example.org/demo-1.0.tar.gz", hashes = {{ sha256 = "{A}" }} }}
wheels = [{{ url = "https://example.org/demo-1.0-py3-none-any.whl", hashes = {{ sha256 = "{B}" }} }}]

[[packages]]
name = "windows-only"
version = "2.0"
marker = "sys_platform == 'win32'"
wheels = [{{ url = "https://w/windows_only-2.0-cp312-cp312-win_amd64.whl", hashes = {{ sha256 = "{A}" }} }}]
"""
VCS = """
[[packages]]
name = "vcs"
vcs = { type = "git", url = "https://example.org/vcs", commit-id = "0123" }
"""


@pytest.fixture
def lock(tmp_path):
    def write(text: str, name: str = "uv.lock") -> LockFile:
        (tmp_path / name).write_text(text)
        return read_lock_file(str(tmp_path / name))

    return write


def pins(lock: LockFile, target=LINUX) -> list[str]:
    return sorted(f"{pin.project}=={pin.version}" for pin in lock.pins(target))


def all_of_uv() -> str:
    return UV + "".join(REGISTRY.format(*package) for package in PACKAGES)


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "some/pylock.dev.toml"])
def test_lock_files_are_known_by_their_names(name):
    assert is_lock_file(name)


@pytest.mark.parametrize("name", ["requirements.txt", "pylock.a.b.toml", "poetry.lock", "uv.lock.txt"])
def test_other_files_are_no_lock_files(name):
    assert not is_lock_file(name)


# -- uv.lock


def test_a_lock_of_uv_is_followed_by_the_markers_of_the_target(lock):
    read = lock(all_of_uv())
    everywhere = ["behind-extra==1.0", "demo==1.0", "for-cpu==1.0"]

    assert pins(read) == [*everywhere, "fork==2.0", "tester==1.0", "with-extra==1.0"]
    assert pins(read, WINDOWS) == [
        *everywhere,
        "fork==1.0",
        "tester==1.0",
        "windows-only==1.0",
        "with-extra==1.0",
    ]


def test_pins_of_uv_have_the_digests_of_all_their_files(lock):
    (demo,) = [pin for pin in lock(all_of_uv()).pins(LINUX) if pin.project == "demo"]

    assert demo == Pin(project="demo", version="1.0", hashes=frozenset({f"sha256:{A}", f"sha256:{B}"}))


def test_a_lock_without_a_project_is_taken_whole(lock):
    read = lock('version = 1\nrequires-python = ">=3.9"\n' + REGISTRY.format("demo", "1.0"))

    assert pins(read) == ["demo==1.0"]


def test_repositories_urls_and_folders_have_a_sentence_each(lock):
    read = lock(all_of_uv() + GIT + GIT.replace("vcs", "local").replace("git =", "directory ="))

    vcs, local = read.left_out()
    assert "vcs comes from a repository (https://example.org/vcs" in vcs
    assert "local comes from a folder" in local


def test_a_lock_of_uv_itself_is_read(tmp_path, monkeypatch):
    """As the installed uv writes it."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "acme"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["demo[more]"]\n'
        '[dependency-groups]\ndev = ["tester"]\n'
    )
    with RunningIndex() as index:
        index.add_wheel("demo", "1.0", requires=["win; sys_platform == 'win32'", "extra; extra == 'more'"])
        for name in ("win", "extra", "tester"):
            index.add_wheel(name, "1.0")
        access = index_access(index.url, {})
        for words in (["lock"], ["export", "--all-groups", "--format", "pylock.toml", "-o", "pylock.toml"]):
            subprocess.run(
                [require_uv("This"), *words, "--default-index", *access.urls],
                cwd=tmp_path,
                check=True,
                capture_output=True,
            )

    for name in ("uv.lock", "pylock.toml"):
        read = read_lock_file(str(tmp_path / name))
        assert pins(read) == ["demo==1.0", "extra==1.0", "tester==1.0"], name
        assert pins(read, WINDOWS) == ["demo==1.0", "extra==1.0", "tester==1.0", "win==1.0"], name
        assert all(pin.hashes for pin in read.pins(LINUX)), name


# -- pylock.toml


def test_a_pylock_is_selected_by_the_markers_of_the_target(lock):
    read = lock(PYLOCK, "pylock.toml")

    assert pins(read) == ["demo==1.0"]
    assert pins(read, WINDOWS) == ["demo==1.0", "windows-only==2.0"]
    assert {f"sha256:{A}", f"sha256:{B}"} in [pin.hashes for pin in read.pins(LINUX)]


def test_a_repository_in_a_pylock_has_a_sentence(lock):
    read = lock(PYLOCK + VCS, "pylock.toml")

    assert pins(read) == ["demo==1.0"]
    assert "vcs comes from a repository (https://example.org/vcs)" in read.left_out()[0]


# -- What is wrong


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml"])
def test_a_lock_for_other_pythons_is_refused_for_this_one(lock, name):
    read = lock(all_of_uv() if name == "uv.lock" else PYLOCK, name)

    with pytest.raises(ConfigurationError, match=r"3\.11"):
        read.pins(target("3.9", "win_amd64"))


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("uv.lock", "version = 2\n", "has version 2 of the format, of which 1 is known here"),
        ("uv.lock", "", "has version None of the format"),
        ("uv.lock", "version = [", "is not TOML"),
        ("uv.lock", "\x00", "is not TOML"),
        ("uv.lock", 'version = 1\n[[package]]\nname = "demo"\n', "is not as uv writes it"),
        ("uv.lock", "version = 1\npackage = 5\n", "is not as uv writes it"),
        ("uv.lock", 'version = 1\nrequires-python = "x"\n', "is not as uv writes it"),
        ("pylock.toml", PYLOCK.replace('"1.0"', '"2.0"', 1), "is of another version of the format"),
        ("pylock.toml", 'lock-version = "1.0"\n', "is not a lock file"),
        ("pylock.toml", "= 1", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_lock_file_is_one_sentence(lock, name, text, part):
    with pytest.raises(ConfigurationError, match=part) as caught:
        lock(text, name)
    assert "\n" not in caught.value.message


def test_a_broken_edge_of_a_lock_is_one_sentence(lock):
    read = lock(all_of_uv().replace("sys_platform == 'win32'", "no marker"))

    with pytest.raises(ConfigurationError, match="is not as uv writes it"):
        read.pins(LINUX)


def test_a_lock_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match=r"uv\.lock cannot be read: No such file"):
        read_lock_file(str(Path(tmp_path) / "uv.lock"))
