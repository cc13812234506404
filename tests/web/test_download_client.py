"""Which kind of client downloads, by its User-Agent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_index.statistics.rows import ANY_CLIENT, Client
from twisted_index.web.requests.download_client import client_of

PIP = (
    '{} {{"ci":{},"cpu":"x86_64","distro":{{"name":"Debian"}},"implementation":{{"name":"CPython"}},'
    '"installer":{{"name":"pip"}},"python":"3.13.1","system":{{"name":"Linux"}}}}'
)
AGENTS = {
    PIP.format("pip/24.3.1", "null"): Client("pip", "3.13", "Linux"),
    PIP.format("uv/0.8.3", "true"): Client("uv", "3.13", "Linux", "yes"),
    PIP.format("pip/24.3.1", " true"): Client("pip", "3.13", "Linux", "yes"),
    PIP.format("uv/0.8.3", "false").replace("Linux", "Darwin"): Client("uv", "3.13", "Darwin"),
    "poetry/1.8.3 CPython/3.12.4 Windows/10": Client("poetry", "3.12", "Windows"),
    "pdm/2.20.1 CPython/3.11.2 Linux/6.1": Client("pdm", "3.11", "Linux"),
    "pipenv/2024.4.0": Client("pipenv"),
    "pip/24.3.1": Client("pip"),
    "bandersnatch/6.5.0 (cpython 3.11.2-final0, Linux x86_64)": Client("mirror"),
    "twisted-index/0.1": Client("mirror"),
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0": Client(
        "browser", system="Linux"
    ),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)": Client("browser", system="Darwin"),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64)": Client("browser", system="Windows"),
    "curl/8.10.1": ANY_CLIENT,
    "": ANY_CLIENT,
    # What is not in the lists.
    PIP.format("pip/24.3.1", "null").replace("3.13.1", "9.99"): Client("pip", system="Linux"),
    PIP.format("pip/24.3.1", "null").replace("Linux", "Plan 9"): Client("pip", "3.13"),
    "pip/1\tuv\n": Client("pip"),
    "pip2/1": ANY_CLIENT,
    "pip/1 " + "{" * 900: Client("pip"),
    "pip/1 " + "x" * 100_000: ANY_CLIENT,
}


@pytest.mark.parametrize(("agent", "client"), AGENTS.items(), ids=range(len(AGENTS)))
def test_a_client_is_what_it_says_it_is(agent: str, client: Client):
    assert client_of(agent.encode()) == client


def test_without_the_field_a_client_is_any():
    assert client_of(None) == ANY_CLIENT


@given(st.binary(max_size=200), st.sampled_from([b"", b"pip/1 ", b'uv/1 {"python":"', b"Mozilla/"]))
def test_whatever_the_field_is_its_words_are_of_short_lists(agent: bytes, start: bytes):
    client = client_of(start + agent)
    assert client.installer in {"pip", "uv", "poetry", "pdm", "pipenv", "browser", "mirror", "other"}
    assert client.system in {"Linux", "Darwin", "Windows", "other"}
    assert client.ci in {"yes", "no"}
    assert client.python == "other" or 0 < len(client.python) < 5
