"""A small file is read once into memory, and inspected as any other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.kit.properties import examples
from tests.simple.archives.samples import SDISTS, WHEEL, mutated
from twisted_index.backends.folder import inspection
from twisted_index.backends.layout.facts import FileFacts, InspectionResult, StatKey
from twisted_index.simple.names import parse_filename

FILES = {"demo-1.0-py3-none-any.whl": WHEEL} | {f"demo-1.0{end}": SDISTS[end] for end in SDISTS}


def inspected(path: Path, *, small: int, verify: bool = True) -> InspectionResult:
    """Inspect a file with another limit of what is small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "SMALL", small)
        key = StatKey.from_stat(os.stat(path))
        return inspection.inspect(os.fsencode(path), parse_filename(path.name), key, verify_members=verify)


@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("filename", FILES)
@given(data=st.data())
def test_from_memory_and_from_the_file_the_result_is_the_same(
    tmp_path: Path, filename: str, data: st.DataObject
) -> None:
    """Facts of what is whole, and the same sentence about what is cut, overwritten or padded."""
    path = tmp_path / filename
    whole = FILES[filename]
    path.write_bytes(whole if data.draw(st.booleans()) else mutated(data, whole))
    assert inspected(path, small=1 << 20) == inspected(path, small=0)


def test_a_small_wheel_is_verified_though_that_may_be_postponed(tmp_path: Path) -> None:
    """Another reading would take longer than the verification."""
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(WHEEL)
    for small, verified in ((len(WHEEL), True), (len(WHEEL) - 1, False)):
        result = inspected(path, small=small, verify=False)
        assert isinstance(result, FileFacts)
        assert result.verified is verified
