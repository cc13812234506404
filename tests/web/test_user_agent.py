"""What the User-Agent fields of installers say, and that no other text does harm."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.web.requests.user_agent import interpreter_of

DISTRO = '{"id":"bookworm","libc":{"lib":"glibc","version":"2.36"},"name":"Debian GNU/Linux","version":"12"}'
PIP = (
    f'pip/26.3 {{"ci":null,"cpu":"x86_64","distro":{DISTRO},"implementation":{{"name":"CPython","version":'
    '"3.11.7"},"installer":{"name":"pip","version":"26.3"},"openssl_version":"OpenSSL 3.0.19 27 Jan 2026",'
    '"python":"3.11.7","rustc_version":"1.95.0","system":{"name":"Linux","release":"6.18.44"}}'
)
UV = (
    'uv/0.13.9 {"installer":{"name":"uv","version":"0.13.9","subcommand":["pip","install"]},"python":'
    f'"3.11.7","implementation":{{"name":"CPython","version":"3.11.7"}},"distro":{DISTRO},"system":{{"name":"Linux",'
    '"release":"6.18.44"},"cpu":"x86_64","openssl_version":null,"setuptools_version":null,"ci":null}'
)


def pip(**more: object) -> str:
    return f"pip/26 {json.dumps(more)}"


CPYTHON = {"name": "CPython", "version": "3.13.0"}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (PIP, "cp311 linux x86_64 glibc 2.36"),
        (UV, "cp311 linux x86_64 glibc 2.36"),
        ("poetry/2.5.1 CPython/3.11.7 Linux/6.18.44-fc-v669", "cp311 linux"),
        ("pdm/2.26.1 PyPy/3.10.14 Darwin/23.5.0", "pp310 macos"),
        ("pip/1.5.6 CPython/2.7.9 Windows/7", "cp27 windows"),
        (
            pip(
                python="3.13.0rc1",
                implementation=CPYTHON,
                system={"name": "Darwin"},
                distro={"name": "macOS", "version": "14.5"},
                cpu="arm64",
            ),
            "cp313 macos14.5 arm64",
        ),
        (
            pip(python="3.13.0", implementation=CPYTHON, system={"name": "Windows"}, cpu="AMD64"),
            "cp313 windows x86_64",
        ),
        (pip(python="3.12.1", system={"name": "Linux"}, cpu="arm64"), "py312 linux aarch64"),
        ("pip/26 {}", "unknown"),
        ("pip/26 nonsense", "unknown"),
        ("pip/26 {", "unknown"),
    ],
)
def test_an_installer_says_what_it_installs_for(field: str, name: str):
    interpreter = interpreter_of(field.encode())
    assert interpreter is not None
    assert interpreter.name == name
    assert interpreter_of(field.encode()) is interpreter


@pytest.mark.parametrize(
    "field",
    [None, "", "Mozilla/5.0 (X11)", "twine/6.0 pkginfo", "curl/8", "pip", "pip/", "xpip/26 {}", "PIP/26 {}"],
)
def test_other_clients_are_no_installers(field: str | None):
    assert interpreter_of(None if field is None else field.encode()) is None


@pytest.mark.parametrize(
    "field",
    [
        b"pip/26 " + b"[" * 900,
        b"pip/26 " + b'{"a":' * 150,
        b'pip/26 {"python":' + b"9" * 900 + b"}",
        b'pip/26 {"python":"' + b"9" * 900 + b'"}',
        b'pip/26 {"python":"3.\xd9\xa3\xd9\xa1","cpu":"\\ud800","system":{"name":"\xe2\x80\xae"}}',
        b'pip/26 {"cpu":"<script>","system":[],"distro":{"libc":"glibc"},"python":{},"implementation":7}',
        b"pip/26 [1,2]",
        b"pip/26 null",
    ],
)
def test_an_odd_document_says_nothing_and_does_no_harm(field: bytes):
    interpreter = interpreter_of(field)
    assert interpreter is not None
    assert interpreter.name == "unknown"


def test_a_long_field_is_not_read():
    assert interpreter_of(b"pip/26 " + b" " * 16384 + b"{}") is None


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps({"python": text}).encode())
)
def test_no_field_raises_and_every_name_is_of_safe_characters(rest: bytes):
    interpreter = interpreter_of(b"pip/26 " + rest)
    assert interpreter is None or set(interpreter.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_. ")


@given(
    st.recursive(
        st.none() | st.text(max_size=9),
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["python", "cpu", "system", "name", "distro", "libc", "lib", "version", "implementation"]
            ),
            inner,
        ),
        max_leaves=12,
    )
)
def test_no_document_raises(document: object):
    interpreter = interpreter_of(f"uv/1.0 {json.dumps(document)}".encode())
    assert interpreter is None or len(interpreter.name) < 80
