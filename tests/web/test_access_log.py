"""No client can write a line of its own, or keep others' lines out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from twisted_index.testing import IndexInMemory, MemorySource
from twisted_index.web.server.access_log import AccessLog
from twisted_index.web.server.log_formats import CombinedFormat, JSONFormat, LogFormat, TerminalFormat

#: Beginnings of a line, ends of a string, control sequences, and what is not UTF-8.
HOSTILE = b'a"\\\n\x1b[2J\x7f\xff\xc3\xa9'


def lines_of(tmp_path: Path, log_format: LogFormat, *, aborted: bool = False, user: str = "-") -> str:
    log = AccessLog(str(tmp_path / "formatted.log"), Clock(), log_format)
    log.open()
    head = log.format.request(b"GET", b"/" + HOSTILE, b"HTTP/1.1")
    fields = log.format.fields(None, HOSTILE)
    log.write_entry("192.0.2.1", head, 200, 5, fields, began=0.0, aborted=aborted, user=user)
    log.close()
    return (tmp_path / "formatted.log").read_text(encoding="ascii")


@pytest.fixture
def log(tmp_path: Path) -> AccessLog:
    log = AccessLog(str(tmp_path / "access.log"), Clock())
    log.open()
    return log


@pytest.mark.parametrize("host", ["1.1.1.1\n6.6.6.6", "\x1b[31m", "\u00e9", "a b", ""])
def test_an_address_that_is_none_is_a_hyphen(log: AccessLog, tmp_path: Path, host: str):
    log.write_entry(
        IPv4Address("TCP", host, 1),
        log.format.request(b"GET", b"/", b"HTTP/1.1"),
        200,
        5,
        log.format.fields(None, b'a"\x1b\xe9'),
        began=0.0,
    )
    log.close()
    text = (tmp_path / "access.log").read_text(encoding="ascii")
    assert text.startswith("- - - [")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()


@pytest.mark.parametrize("host", ["h:65536", "h:99999", "[::1]:70000"])
def test_a_port_that_is_none_is_not_repeated(host: str):
    reply = IndexInMemory(MemorySource()).get("/", headers={"Host": host})
    assert reply.status == 200
    assert host.encode() not in reply.body


def test_a_line_of_json_is_one_object_with_the_names_of_nginx(tmp_path):
    text = lines_of(tmp_path, JSONFormat(), aborted=True, user="dora \N{SNOWMAN}")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert json.loads(text) == {
        "time": "1970-01-01T00:00:00Z",
        "remote_addr": "192.0.2.1",
        "remote_user": "dora \N{SNOWMAN}",
        "request_method": "GET",
        "request_uri": '/a"\\\n\x1b[2J\x7f\\xff\u00e9',
        "server_protocol": "HTTP/1.1",
        "status": 200,
        "body_bytes_sent": 5,
        "request_time": 0.0,
        "http_referer": None,
        "http_user_agent": 'a"\\\n\x1b[2J\x7f\\xff\u00e9',
        "aborted": True,
    }


def test_json_has_null_for_no_user(tmp_path):
    assert json.loads(lines_of(tmp_path, JSONFormat()))["remote_user"] is None


def test_no_request_can_control_the_terminal(tmp_path):
    text = lines_of(tmp_path, TerminalFormat(), aborted=True)
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert re.fullmatch(r"\d\d:\d\d:\d\d 192\.0\.2\.1 GET /a\S+ 200 aborted\n", text)


# -- Tokens of drafts


@pytest.mark.parametrize("log_format", [CombinedFormat(), JSONFormat(), TerminalFormat()])
@pytest.mark.parametrize(
    "target",
    [
        b"/+draft/s3cret/simple/demo/",
        b"/py/+dev/%2bdraft/s3cret",
        b"/+%64r%61ft/s3cret?q=1",
        b"http://index.test/+draft/s3cret/",
        b"/?next=%2F%2Bdraft%2Fs3cret%2Fsimple",
    ],
)
def test_the_token_of_a_draft_is_in_no_line(log_format: LogFormat, target: bytes):
    """A Referer has it too."""
    line = log_format.request(b"GET", target, b"HTTP/1.1") + log_format.fields(target, b"pip/26")
    assert "s3cret" not in line
    assert "TOKEN" in line
