"""The fixture, in a project that is not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import twisted_index

ROOT = Path(twisted_index.__file__).parent.parent

TESTS = """
import urllib.request

def test_first(simple_index):
    simple_index.add_wheel("our-plugin", "1.0", requires=["attrs"])
    with urllib.request.urlopen(simple_index.url + "our-plugin/") as response:
        assert b"our_plugin-1.0-py3-none-any.whl" in response.read()
    assert "/simple/our-plugin/" in [seen.path for seen in simple_index.requests]

def test_second(simple_index):
    assert list(simple_index.folder.iterdir()) == []
    assert simple_index.requests == []
"""


@pytest.fixture
def project(tmp_path):
    """Run the tests of a foreign project, and say how many passed and what was printed."""
    (tmp_path / "test_ours.py").write_text(TESTS)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def test_a_project_that_asks_for_it_has_a_new_index_in_each_test(project, tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["twisted_index.testing.fixtures"]\n')
    done = project()
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_project_that_does_not_ask_for_it_has_no_such_fixture(project):
    done = project()
    assert "fixture 'simple_index' not found" in done.stdout
    assert "2 errors" in done.stdout


def test_it_is_listed_with_a_sentence(project, tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["twisted_index.testing.fixtures"]\n')
    assert "Run a package index at `simple_index.url`" in project("--fixtures").stdout
