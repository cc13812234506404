"""What the kit offers, and what it asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import twisted_index
import twisted_index.testing

ROOT = Path(twisted_index.__file__).parent.parent


def _loaded_by(statement: str) -> set[str]:
    """Run a statement in a new interpreter, and say which modules of interest it has loaded."""
    interest = "{'pytest', 'twisted.internet.reactor'}"
    program = f"{statement}\nimport sys\nprint(*{interest} & set(sys.modules))"
    command = [sys.executable, "-W", "error", "-c", program]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split())


def test_the_kit_needs_neither_pytest_nor_a_reactor_to_be_imported():
    assert _loaded_by("import twisted_index.testing") == set()


def test_asking_an_index_in_memory_imports_no_reactor():
    statement = (
        "from twisted_index.testing import *\n"
        "assert IndexInMemory(MemorySource(make_wheel('demo', '1.0'))).get('/simple/demo/').status == 200"
    )
    assert _loaded_by(statement) == set()


def test_every_public_name_is_there_and_says_what_it_is_for():
    for name in twisted_index.testing.__all__:
        assert getattr(twisted_index.testing, name).__doc__, name


def test_all_that_is_imported_for_users_is_public():
    found = {
        name
        for name, value in vars(twisted_index.testing).items()
        if getattr(value, "__module__", "").startswith("twisted_index.testing.")
    }
    assert found <= set(twisted_index.testing.__all__)
