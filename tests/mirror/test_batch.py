"""Files that get their names together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from twisted_index.files.anonymous_file import AnonymousFile
from twisted_index.mirror.batch import Batch
from twisted_index.mirror.folder import Arrival
from twisted_index.simple.manifest import ManifestLine
from twisted_index.simple.names import parse_filename

NAMES = ("a-1.tar.gz", "a-2.tar.gz", "a-3.tar.gz")


def _arrival(name: str, size: int = 1) -> Arrival:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    line = ManifestLine(name=name, sha256="0" * 64, size=size, time=time, note="")
    return Arrival(file=AnonymousFile(b"", -1, None), distribution=parse_filename(name, "a"), line=line)


class _Case:
    def __init__(self, reasons: Mapping[str, str] | Exception | None = None) -> None:
        self._reasons = reasons or {}
        self.given: list[list[str]] = []
        self.batch = Batch(NAMES, self._give)

    async def _give(self, arrived: Sequence[Arrival]) -> Mapping[str, str]:
        self.given.append([arrival.line.name for arrival in arrived])
        if isinstance(self._reasons, Exception):
            raise self._reasons
        return self._reasons

    def place(self, name: str, size: int = 1) -> list[Any]:
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.batch.place(_arrival(name, size))).addBoth(outcome.append)
        return outcome


def test_files_get_their_names_together_once_all_have_ended():
    case = _Case({NAMES[1]: "It is taken."})
    first, second = case.place(NAMES[0]), case.place(NAMES[1])
    assert (case.given, first) == ([], [])
    case.batch.end(NAMES[2])
    assert case.given == [[NAMES[0], NAMES[1]]]
    assert (first, second) == ([""], ["It is taken."])


@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_a_file_that_has_arrived_is_counted_once(name: str):
    case = _Case()
    case.place(name)
    case.batch.end(name)
    assert case.given == []


def test_many_bytes_do_not_wait_for_files_under_way():
    case = _Case()
    case.place(NAMES[0], 1)
    assert case.place(NAMES[1], 1 << 30) == [""]
    assert case.given == [[NAMES[0], NAMES[1]]]


def test_all_files_of_a_batch_learn_of_an_error():
    case = _Case(OSError("no"))
    outcomes = [case.place(name) for name in NAMES]
    assert [outcome[0].value.args for outcome in outcomes] == [("no",)] * 3
