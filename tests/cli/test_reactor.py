"""Subcommands that run the reactor, and what interrupts them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

_WORK = """
import sys
from twisted.internet.defer import CancelledError, Deferred
from twisted_index.cli._reactor import run_in_reactor

async def work(reactor):
    reactor.callWhenRunning(print, "running", flush=True)
    try:
        await Deferred()
    except CancelledError:
        if sys.argv[1:]:
            await Deferred()
        return 1

sys.exit(run_in_reactor(work))
"""


def running(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[str]]:
    """Work that goes on although it was interrupted once."""
    with running("stubborn") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "interrupted" in process.stderr.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_subcommand_says_so_and_ends(number: signal.Signals):
    with running() as process:
        process.send_signal(number)
        _out, err = process.communicate(timeout=30)
    assert (process.returncode, "interrupted" in err, "Traceback" in err) == (1, True, False)


def test_a_second_ctrl_c_ends_a_subcommand_at_once(stubborn: subprocess.Popen[str]):
    stubborn.send_signal(signal.SIGINT)
    _out, err = stubborn.communicate(timeout=30)
    assert (stubborn.returncode, err) == (-signal.SIGINT, "")


def test_a_second_sigterm_changes_nothing(stubborn: subprocess.Popen[str]):
    stubborn.send_signal(signal.SIGTERM)
    stubborn.send_signal(signal.SIGINT)
    _out, err = stubborn.communicate(timeout=30)
    assert (stubborn.returncode, err) == (-signal.SIGINT, "")
