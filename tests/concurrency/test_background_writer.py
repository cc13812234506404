"""Output that stalls, fails or ends does not keep its writer."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, globalLogPublisher

from twisted_index.concurrency import background_writer
from twisted_index.concurrency.background_writer import BackgroundWriter

#: More than any pipe holds by default.
_PIPE = 1 << 20


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    return reading, BackgroundWriter(writing, name="The output")


def test_lines_are_written_in_order_before_the_end(pipe):
    reading, writer = pipe
    writer.write(b"a\n")
    writer.write(b"b\n")
    writer.close(10)

    assert read_all(reading) == b"a\nb\n"


def test_a_pipe_that_is_not_read_blocks_neither_write_nor_close(pipe):
    reading, writer = pipe
    writer.write(b"a" * _PIPE + b"\n")
    writer.write(b"b\n")
    writer.close(0)

    assert read_all(reading) == b"a" * _PIPE + b"\nb\n"


def test_what_comes_while_too_much_waits_is_dropped_counted_and_reported(pipe, monkeypatch):
    monkeypatch.setattr(background_writer, "_MAX_WAITING", _PIPE)
    reading, writer = pipe
    with capturedLogs() as events:
        writer.write(b"a" * 2 * _PIPE + b"\n")
        writer.write(b"b\nc\n")
        writer.close(0)
        text = read_all(reading)
        writer.close(10)

    assert text == b"a" * 2 * _PIPE + b"\n"
    assert [event["number"] for event in events] == [2]


def test_a_reader_that_is_gone_is_reported_once(pipe):
    reading, writer = pipe
    os.close(reading)
    with capturedLogs() as events:
        writer.write(b"a\n")
        writer.write(b"b\n")
        writer.close(10)

    assert [event["error"] for event in events] == ["Broken pipe"]


def test_a_descriptor_that_is_not_owned_stays_open():
    reading, writing = os.pipe()
    writer = BackgroundWriter(writing, name="The output", owned=False)
    writer.close(10)
    os.write(writing, b"later")
    os.close(writing)

    assert read_all(reading) == b"later"


def test_a_pipe_that_another_process_made_non_blocking_loses_nothing():
    """The flag belongs to the open file, so a parent or a neighbor with the same output may set it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = BackgroundWriter(writing, name="The output")
    writer.write(b"a" * _PIPE + b"\n")
    writer.write(b"b\n")
    writer.close(0)

    assert read_all(reading) == b"a" * _PIPE + b"\nb\n"


def test_what_an_error_left_of_a_line_does_not_spoil_the_next_one(tmp_path: Path):
    os.mkfifo(fifo := tmp_path / "fifo")
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = BackgroundWriter(os.open(fifo, os.O_WRONLY), name="The output")
    failed = threading.Event()
    globalLogPublisher.addObserver(failed_on := lambda _event: failed.set())
    try:
        writer.write(b"a" * _PIPE + b"\n")
        os.set_blocking(reading, True)
        assert os.read(reading, 1) == b"a"
        os.close(reading)
        assert failed.wait(10)
    finally:
        globalLogPublisher.removeObserver(failed_on)
    reading = os.open(fifo, os.O_RDONLY)
    writer.write(b"b\n")
    writer.close(0)

    assert read_all(reading).rpartition(b"a")[2] == b"\nb\n"
