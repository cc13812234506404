"""`setup.py sdist upload`, of each Python that is installed and still has it."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.places

SETUP = """\
from distutils.core import setup
setup(name="old.demo_pkg", version="1.0", py_modules=["demo"], classifiers=["A :: B", "C :: D"],
      author="somebody", author_email="a@example.org", long_description="first\\r\\nsecond\\rthird")
"""


@pytest.fixture(params=["python2.7", "python3.6", "this"])
def python(request: pytest.FixtureRequest, find_program: Callable[[str], str], shell: Any) -> str:
    program = sys.executable if request.param == "this" else find_program(request.param)
    found = shell.run(program, "-c", "import distutils.command.upload")
    if found.code:
        pytest.skip(f"{request.param} has no distutils that uploads: {found.output.strip()[-80:]}")
    return program


@pytest.fixture
def server(folder: Path, module_server: Callable[..., Any]) -> Any:
    return module_server("--upload", "--anonymous-upload")


@pytest.fixture
def setup_py(shell: Any, server: Any, python: str, tmp_path: Path) -> Callable[..., str]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "setup.py").write_text(SETUP)
    (project / "demo.py").write_text("")
    (shell.home / ".pypirc").write_text(
        "[distutils]\nindex-servers = here\n"
        f"[here]\nrepository = {server.origin}/legacy/\nusername = alice\npassword = secret\n"
    )
    return lambda *command: str(shell.run(python, "setup.py", *command, cwd=project).output)


@pytest.mark.parametrize("form", ["gztar", "zip"])
def test_distutils_uploads_an_sdist(server: Any, setup_py: Callable[..., str], tmp_path: Path, form: str):
    said = setup_py("sdist", f"--formats={form}", "upload", "-r", "here")
    assert "Server response (200)" in said, said
    (file,) = (tmp_path / "project" / "dist").iterdir()
    page = server.get("/simple/old-demo-pkg/", headers={"Accept": "text/html"}).text
    assert re.findall(r"#sha256=(\w+)", page) == [hashlib.sha256(file.read_bytes()).hexdigest()]


def test_distutils_is_told_what_is_wrong_with_what_else_it_builds(server: Any, setup_py: Callable[..., str]):
    said = setup_py("bdist_dumb", "upload", "-r", "here")
    assert "Upload failed (400): old.demo_pkg-1.0." in said, said


def test_distutils_is_told_that_nothing_has_to_be_registered(server: Any, setup_py: Callable[..., str]):
    said = setup_py("register", "-r", "here", "sdist", "upload", "-r", "here")
    assert "Server response (410): submit is no longer supported by package indexes" in said, said
    assert "Server response (200)" in said, said
