"""The names of files that were changed at upload."""

from __future__ import annotations

import pytest

from twisted_index.github.asset_names import is_renamed, mangled, name_inside
from twisted_index.simple.core_metadata import parse_headers


def metadata(name: str = "demo", version: str = "1.0+cu118") -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n".encode()


@pytest.mark.parametrize(
    ("shown", "version", "name"),
    [
        ("demo-1.0.cu118-py3-none-any.whl", "1.0+cu118", "demo-1.0+cu118-py3-none-any.whl"),
        ("demo-1.0.1-py3-none-any.whl", "1.0+1", "demo-1.0+1-py3-none-any.whl"),
        ("demo-1.0-py3-none-any.whl", "1.0", "demo-1.0-py3-none-any.whl"),
        ("demo-1.0.cu118-2-py3-none-any.whl", "1.0+cu118", "demo-1.0+cu118-2-py3-none-any.whl"),
        ("Demo-1.0.cu118-py3-none-any.whl", "1.0+cu118", "Demo-1.0+cu118-py3-none-any.whl"),
        ("demo-1.2.0-py3-none-any.whl", "1!2.0", "demo-1!2.0-py3-none-any.whl"),
        ("demo-1.0.cu.118-py3-none-any.whl", "1.0+cu-118", "demo-1.0+cu.118-py3-none-any.whl"),
    ],
)
def test_the_version_inside_replaces_the_one_that_is_shown(shown, version, name):
    assert name_inside(shown, parse_headers(metadata(version=version))) == name


@pytest.mark.parametrize(
    ("shown", "document"),
    [
        ("demo-1.0-py3-none-any.whl", metadata(version="2.0")),
        ("demo-1.0.cu118-py3-none-any.whl", metadata(name="other")),
        ("demo-1.0.cu118-py3-none-any.whl", b"<html>"),
        ("demo-1.0.cu118-py3-none-any.whl", b""),
        ("demo-1.0.x-py3-none-any.whl", metadata(version="1.0 x")),
        ("wheel.whl", metadata()),
    ],
)
def test_a_wheel_that_was_named_otherwise_has_no_name(shown, document):
    assert name_inside(shown, parse_headers(document)) is None


@pytest.mark.parametrize(
    ("name", "uploaded"),
    [
        ("a-1.0~rc1.tar.gz", "a-1.0.rc1.tar.gz"),
        ("a b (1).whl", "a.b.1.whl"),
        ("demo-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"),
        (".hidden.", "hidden"),
        ("a=-,b", "a.-.b"),
    ],
)
def test_a_name_is_changed_as_github_does(name: str, uploaded: str):
    assert mangled(name) == uploaded
    assert is_renamed(uploaded, name)
