"""Versions for a target: locked, or chosen by uv, or by pip for this machine."""

from __future__ import annotations

import sys

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.resolution import resolver
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.resolver import check_resolver, choose_build, read_wanted, resolve
from twisted_index.resolution.targets import target, targets
from twisted_index.resolution.uv import IndexAccess, Unresolvable
from twisted_index.testing import RunningIndex

WINDOWS, LINUX = target("3.12", "win_amd64"), target("3.12", "manylinux_2_28_x86_64")
(OWN,) = targets([], [])
SHA = "sha256:" + "a" * 64
NOWHERE = IndexAccess(urls=("http://127.0.0.1:9/",))


@pytest.fixture
def index(monkeypatch, tmp_path):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with RunningIndex() as running:
        yield running


@pytest.fixture
def without_uv(monkeypatch, tmp_path):
    monkeypatch.setattr(resolver, "find_uv", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setattr(sys, "base_prefix", sys.base_prefix)
    monkeypatch.setattr("twisted_index.resolution.uv.find_uv", lambda: None)


def test_hashed_requirements_are_pins_without_a_resolution(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        f"demo==1.0 --hash={SHA}\nwin==2.0 ; sys_platform == 'win32' --hash={SHA}\n"
    )
    wanted = read_wanted([], [str(tmp_path / "requirements.txt")], [])
    demo = Pin(project="demo", version="1.0", hashes=frozenset({SHA}))

    assert resolve(wanted, LINUX, NOWHERE) == (demo,)
    assert resolve(wanted, WINDOWS, NOWHERE) == (
        demo,
        Pin(project="win", version="2.0", hashes=frozenset({SHA})),
    )


def test_lock_files_are_pins_beside_what_is_resolved(index, tmp_path):
    (tmp_path / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "locked"\nversion = "1.0"\n'
        'source = { registry = "https://example.org/" }\n'
    )
    index.add_wheel("demo", "1.0")
    wanted = read_wanted(["demo"], [str(tmp_path / "uv.lock")], [])

    pins = resolve(wanted, WINDOWS, IndexAccess(urls=(index.url,)))
    assert pins == (Pin(project="locked", version="1.0"), Pin(project="demo", version="1.0"))
    assert wanted.lines(pins) == ["demo", "locked==1.0", "demo==1.0"]


def test_a_marker_that_compares_what_cannot_be_compared_leaves_nothing_out(tmp_path):
    (tmp_path / "requirements.txt").write_text(f"demo==1.0; os_name ~= 'nt' --hash={SHA}\n")
    wanted = read_wanted([], [str(tmp_path / "requirements.txt")], [])

    (demo,) = resolve(wanted, WINDOWS, IndexAccess(urls=()))
    assert demo.project == "demo"


def test_hashes_of_some_requirements_bind_their_files(index, tmp_path):
    index.add_wheel("demo", "1.0", requires=["needed"])
    index.add_wheel("needed", "1.0")
    (tmp_path / "requirements.txt").write_text(f"demo==1.0 --hash={SHA}\nneeded\n")
    wanted = read_wanted([], [str(tmp_path / "requirements.txt")], [])

    demo, needed = resolve(wanted, WINDOWS, IndexAccess(urls=(index.url,)))
    assert (demo.hashes, needed.hashes) == ({SHA}, frozenset())


def test_a_foreign_target_without_uv_is_refused_in_one_sentence(without_uv):
    with pytest.raises(ConfigurationError, match=r"To resolve for Python 3\.12 on win_amd64.*\[download\]"):
        check_resolver(read_wanted(["demo"], [], []), [OWN, WINDOWS])


def test_this_machine_needs_no_uv(without_uv, index):
    index.add_wheel("demo", "1.0", requires=["needed"])
    index.add_wheel("needed", "1.0")
    index.add_wheel("needed", "2.0")
    wanted = read_wanted(["demo"], [], [])
    wanted.requirements.constraints.append("needed<2")

    check_resolver(wanted, [OWN])
    assert set(resolve(wanted, OWN, IndexAccess(urls=(index.url,)))) == {
        Pin(project="demo", version="1.0"),
        Pin(project="needed", version="1.0"),
    }


def test_what_pip_cannot_resolve_is_told_in_its_words(without_uv, index):
    secret = IndexAccess(urls=(index.url.replace("://", "://me:s3cret@"),))

    with pytest.raises(Unresolvable, match="No matching distribution found for absent") as caught:
        resolve(read_wanted(["absent"], [], []), OWN, secret)
    assert "s3cret" not in caught.value.message


def test_locked_targets_need_no_uv(without_uv, tmp_path):
    (tmp_path / "requirements.txt").write_text(f"demo==1.0 --hash={SHA}\n")

    check_resolver(read_wanted([], [str(tmp_path / "requirements.txt")], []), [WINDOWS])


@pytest.mark.parametrize(("version", "needs_wheel"), [("70.0", True), ("70.1", False)])
def test_old_setuptools_builds_with_wheel(index, version, needs_wheel):
    index.add_wheel("setuptools", version)
    index.add_wheel("wheel", "1.0")

    pins = choose_build(["setuptools"], WINDOWS, IndexAccess(urls=(index.url,)))
    assert ("wheel" in {pin.project for pin in pins}) is needs_wheel
