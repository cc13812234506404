"""What pip and uv are configured to use."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.kit.hostile_upstream import HostileUpstream, page
from twisted_index.config.pip_index import pip_index, run_quietly
from twisted_index.config.settings import Settings, UpstreamSettings
from twisted_index.errors import ConfigurationError
from twisted_index.service import SimpleIndexService
from twisted_index.testing.reactor_thread import BackgroundReactor

LOOPBACK = "tcp:0:interface=127.0.0.1"
HELP = "  -i, --index-url <url>  Base URL of the Index (default https://pypi.example/simple). This should"


def pip_that_says(*lines: str) -> object:
    """A pip that is configured so."""

    def run(command: Sequence[str], environ: Mapping[str, str]) -> str:
        return "\n".join(lines) if command[-2:] == ["config", "list"] else HELP

    return run


def no_pip(command: Sequence[str], environ: Mapping[str, str]) -> None:
    return None


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "PIP_CONFIG_FILE": "/dev/null"}


def test_the_environment_is_stronger_than_the_section_of_install_and_that_than_the_global_one() -> None:
    lines = ["global.index-url='https://a.example/'", "install.index-url='https://b.example/'"]

    assert pip_index({}, pip_that_says(lines[0])).urls == ("https://a.example/",)
    assert pip_index({}, pip_that_says(*lines)).urls == ("https://b.example/",)
    assert pip_index({}, pip_that_says(":env:.index-url='https://c.example/'", *lines)).urls == (
        "https://c.example/",
    )


def test_without_configuration_it_is_the_default_that_pip_states() -> None:
    assert pip_index({}, pip_that_says()).urls == ("https://pypi.example/simple",)


def test_the_start_tells_of_indexes_in_the_file_system_that_they_are_not_asked() -> None:
    pip = pip_that_says("global.extra-index-url='file:///srv/simple file:///srv/simple'")

    assert "Ignored from pip's configuration: file:///srv/simple" in pip_index({}, pip).describe()


def test_further_indexes_are_asked_first_and_those_in_the_file_system_are_left_out() -> None:
    pip = pip_that_says("global.extra-index-url='https://a.example/ file:///srv https://b.example/\\n'")

    assert pip_index({}, pip).urls == (
        "https://a.example/",
        "https://b.example/",
        "https://pypi.example/simple",
    )


@pytest.mark.parametrize("line", ["global.no-index='true'", "global.index-url='file:///srv/simple'"])
def test_a_pip_that_uses_no_index_is_told_of_in_a_sentence(line: str) -> None:
    with pytest.raises(ConfigurationError, match="no index is configured"):
        pip_index({}, pip_that_says(line)).urls


def test_lines_that_are_none_are_passed_over() -> None:
    assert pip_index({}, pip_that_says("WARNING", "a=b", "=", "global.x=[")).urls == (
        "https://pypi.example/simple",
    )


def test_without_pip_its_files_are_read(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[global]\nindex_url = https://a.example/\n")
    del home["PIP_CONFIG_FILE"]
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://b.example/\n")

    assert pip_index(home, no_pip).urls[-1] == "https://a.example/"
    assert pip_index(home | {"PIP_CONFIG_FILE": str(named)}, no_pip).urls[-1] == "https://b.example/"
    assert pip_index(home | {"PIP_INDEX_URL": "https://c.example/"}, no_pip).urls[-1] == "https://c.example/"


def test_without_pip_the_environment_of_uv_is_read(home: dict[str, str]) -> None:
    environ = {"UV_DEFAULT_INDEX": "main=https://a.example/", "UV_INDEX": "https://b.example/"}

    assert pip_index(home | environ, no_pip).urls == ("https://b.example/", "https://a.example/")
    assert pip_index(home | {"UV_INDEX_URL": "https://a.example/"}, no_pip).urls == ("https://a.example/",)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ('index-url = "https://a.example/"', ("https://a.example/",)),
        ('[pip]\nindex-url = "https://a.example/"', ("https://a.example/",)),
        (
            '[[index]]\nurl = "https://b.example/"\n[[index]]\nurl = "https://a.example/"\ndefault = true\n'
            '[[index]]\nurl = "https://c.example/"\nexplicit = true',
            ("https://b.example/", "https://a.example/"),
        ),
    ],
)
def test_without_pip_the_files_of_uv_are_read(
    home: dict[str, str], tmp_path: Path, text: str, urls: tuple[str, ...]
) -> None:
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text(text)

    assert pip_index(home, no_pip).urls == urls


@pytest.mark.parametrize("text", ["index = 7", "index = [7]", "[[index]]\nurl = 7", "\x00", "index-url = 7"])
def test_files_that_are_wrong_say_nothing(home: dict[str, str], tmp_path: Path, text: str) -> None:
    path = tmp_path / "uv.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError):
        pip_index(home | {"UV_CONFIG_FILE": str(path)}, no_pip).urls


def test_the_pip_that_is_installed_here_is_understood(home: dict[str, str]) -> None:
    environ = home | {"PIP_INDEX_URL": "https://me:secret@a.example/simple"}

    assert pip_index(environ).urls == ("https://me:secret@a.example/simple",)
    assert pip_index(home).urls[0].startswith("http")


def test_a_command_that_fails_prints_nothing() -> None:
    assert run_quietly([sys.executable, "-c", "import sys; sys.exit(3)"], {}) is None
    assert run_quietly(["/no/such/program"], {}) is None


def test_what_pip_is_configured_to_use_on_the_way_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = pip_index(
        {},
        pip_that_says(
            "global.cert='ca.pem'",
            "global.client-cert='/srv/me.pem'",
            "install.client-cert='/srv/other.pem'",
            ":env:.proxy='http://me:secret@proxy.example:3128'",
            "global.trusted-host='a.example\\nB.example:8443'",
            "global.timeout='60'",
        ),
    )

    assert found.cert == str(tmp_path / "ca.pem")
    assert found.tls.client_cert == "/srv/other.pem"
    assert found.tls.trusted_hosts == ("a.example", "b.example:8443")
    assert found.environ({"PIP_CERT": "/x", "NO_PROXY": "*"}) == {
        "PIP_CERT": found.cert,
        "NO_PROXY": "*",
        "no_proxy": "",
        "http_proxy": "http://me:secret@proxy.example:3128",
        "https_proxy": "http://me:secret@proxy.example:3128",
    }
    said = list(found.describe())
    assert said == [
        "pip here is configured to use https://pypi.example/simple",
        f"Taken from pip's configuration: the certificates in {found.cert}, the proxy"
        " http://proxy.example:3128, a client certificate",
        "The certificates of a.example, b.example:8443 are not checked: pip is configured to trust these"
        " hosts",
        "Ignored from pip's configuration: timeout",
    ]


def test_the_start_names_the_indexes_of_pip_without_their_passwords() -> None:
    pip = pip_that_says("global.index-url='https://me:secret@a.example/x@y/'")

    assert list(pip_index({}, pip).describe()) == ["pip here is configured to use https://a.example/x@y/"]


def test_without_pip_its_files_say_the_way_too(home: dict[str, str], tmp_path: Path) -> None:
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://b.example/\ncert = /srv/ca.pem\n")
    environ = home | {"PIP_CONFIG_FILE": str(named), "PIP_TRUSTED_HOST": "b.example"}

    found = pip_index(environ, no_pip)
    assert (found.cert, found.tls.trusted_hosts) == ("/srv/ca.pem", ("b.example",))


def test_a_server_asks_the_index_of_pip_by_the_proxy_of_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, background = HostileUpstream(), BackgroundReactor()
    monkeypatch.setenv("PIP_INDEX_URL", "http://pypi.example/simple")
    monkeypatch.setenv("PIP_PROXY", proxy.origin)
    monkeypatch.setenv("no_proxy", "*")
    proxy.on("http://pypi.example/simple/demo/", page(b'{"files": [{"url": "demo-1.0.tar.gz"}]}'))
    service = SimpleIndexService(
        Settings(paths=(str(tmp_path),), listen=(LOOPBACK,), upstreams=UpstreamSettings(urls=("pip",))),
        reactor=background.reactor,
    )
    background.call(service.startService, 30)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", service.addresses[0].port, timeout=30)
        connection.request("GET", "/simple/demo/")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    finally:
        background.call(service.stopService, 30)
        background.stop(30)
        proxy.close()

    assert (answer.status, b"demo-1.0.tar.gz" in body) == (200, True)
