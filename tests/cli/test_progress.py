"""Progress on a terminal, in a log, and where it is to be quiet."""

from __future__ import annotations

import io

import pytest

from twisted_index.cli import _progress
from twisted_index.cli._progress import Progress, format_size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, **options: bool) -> str:
    with Progress(stream=stream, **options) as progress:
        progress.expect(2, 3_000_000)
        progress.advance(1_000_000)
        progress.done("a.whl", 1_000_000)
        progress.say("The page was read again.")
        progress.failed("b.whl", "It does not exist.")
    return stream.getvalue()


def test_on_a_terminal_a_bar_is_drawn_and_only_what_is_out_of_the_ordinary_has_lines():
    drawn = run(Terminal())

    assert "1/2 files" in drawn
    assert "2/2 files" in drawn
    assert "1.00M/3.00M" in drawn
    assert "b.whl: It does not exist.\n" in drawn
    assert "The page was read again.\n" in drawn
    assert "a.whl" not in drawn


def test_in_a_log_each_file_has_a_line():
    assert run(io.StringIO()) == "a.whl  1.0 MB\nThe page was read again.\nb.whl: It does not exist.\n"


def test_a_terminal_without_tqdm_shows_lines(monkeypatch):
    monkeypatch.setattr(_progress, "tqdm", None)

    assert run(Terminal()) == run(io.StringIO())


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_what_is_quiet_shows_failures_alone(stream):
    assert run(stream(), quiet=True) == "b.whl: It does not exist.\n"


def test_the_bar_grows_with_files_whose_sizes_were_unknown():
    terminal = Terminal()
    with Progress(stream=terminal) as progress:
        progress.expect(1, 0)
        progress.advance(2_000_000)
        progress.done("a.whl", 2_000_000)

    assert "2.00M/2.00M" in terminal.getvalue()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 10**6, "2.0 MB"), (10**9, "1.0 GB")],
)
def test_sizes_are_written_for_people(size, text):
    assert format_size(size) == text
