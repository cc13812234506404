"""uv as the resolver: where it is found, what it reads, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twisted_index.errors import ConfigurationError
from twisted_index.resolution import uv as module
from twisted_index.resolution.pins import Pin
from twisted_index.resolution.targets import target
from twisted_index.resolution.uv import (
    IndexAccess,
    Unresolvable,
    compile_pins,
    find_uv,
    index_access,
    require_uv,
)
from twisted_index.testing import RunningIndex

WINDOWS = target("3.12", "win_amd64")
LINUX = target("3.12", "manylinux_2_28_x86_64")


@pytest.fixture
def index(monkeypatch, tmp_path):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with RunningIndex() as running:
        yield running


def access(index: RunningIndex) -> IndexAccess:
    return index_access(index.url, {})


def resolve(index: RunningIndex, requirements: list[str], **more) -> list[str]:
    pins = compile_pins(require_uv("This"), requirements, more.pop("target", WINDOWS), access(index), **more)
    return [f"{pin.project}=={pin.version}" for pin in pins]


def executable(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_uv_is_looked_for_beside_this_python_first(monkeypatch, tmp_path):
    beside = executable(tmp_path / "bin" / "uv")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))

    assert find_uv() == beside


def test_uv_is_looked_for_in_its_package_then_on_path(monkeypatch, tmp_path):
    on_path = executable(tmp_path / "path" / "uv")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))

    assert find_uv() not in (None, on_path)
    monkeypatch.setitem(sys.modules, "uv", None)
    assert find_uv() == on_path


def test_without_uv_one_sentence_names_the_cure(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "uv", None)

    with pytest.raises(ConfigurationError, match=r"^Python 3.12 on win_amd64 needs uv.*\[download\]'\.$"):
        require_uv(str(WINDOWS))


def test_markers_are_evaluated_for_the_target(index):
    index.add_wheel("demo", "1.0", requires=["for-windows; sys_platform == 'win32'", "for-all"])
    index.add_wheel("for-windows", "1.0")
    index.add_wheel("for-all", "1.0")

    assert resolve(index, ["demo"]) == ["demo==1.0", "for-all==1.0", "for-windows==1.0"]
    assert resolve(index, ["demo"], target=LINUX) == ["demo==1.0", "for-all==1.0"]


def test_constraints_and_options_hold(index):
    index.add_wheel("demo", "1.0")
    index.add_sdist("demo", "1.5")
    index.add_wheel("demo", "2.0")

    assert resolve(index, ["demo"], constraints=["demo<2"], options=["--only-binary", ":all:"]) == [
        "demo==1.0"
    ]


def test_other_indexes_and_settings_of_this_machine_are_not_read(index, monkeypatch, tmp_path):
    index.add_wheel("demo", "1.0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uv.toml").write_text('[[index]]\nurl = "http://127.0.0.1:9/"\n')
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2001-01-01")

    assert resolve(index, ["demo"]) == ["demo==1.0"]


def test_what_cannot_be_resolved_is_told_in_the_words_of_uv(index):
    index.add_wheel("demo", "1.0", requires=["absent"])

    with pytest.raises(Unresolvable) as caught:
        resolve(index, ["demo"])
    assert caught.value.message.startswith(
        "uv cannot resolve the requirements for Python 3.12 on win_amd64:\n"
    )
    assert "absent was not found" in caught.value.message


def test_a_password_is_neither_shown_nor_passed_as_an_option(index, monkeypatch):
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda words, **more: calls.append(words) or run(words, **more))
    secret = index_access(index.url.replace("://", "://me:s3cret@"), {})

    with pytest.raises(Unresolvable) as caught:
        compile_pins(require_uv("This"), ["absent"], WINDOWS, secret)
    assert "s3cret" not in caught.value.message + str(calls)


def test_pips_indexes_over_http_are_read_in_the_order_of_our_own_requests(monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    environ = {
        **os.environ,
        "PIP_INDEX_URL": "http://127.0.0.1:9/default/",
        "PIP_EXTRA_INDEX_URL": f"http://127.0.0.1:9/more/ {tmp_path.as_uri()}",
        "PIP_CERT": str(tmp_path / "ca.pem"),
        "PIP_TRUSTED_HOST": "127.0.0.1",
    }
    found = index_access("pip", environ)

    assert found.urls == ("http://127.0.0.1:9/more/", "http://127.0.0.1:9/default/")
    assert found.environ["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
    assert found.environ["UV_INSECURE_HOST"] == "127.0.0.1"


def test_pins_have_normalized_names():
    assert list(module._pins("Zope.Interface==5.0\n# a comment\n")) == [
        Pin(project="zope-interface", version="5.0")
    ]
