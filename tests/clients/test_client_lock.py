"""uv, poetry and pdm lock a project against a live server and install what they locked."""

from __future__ import annotations

import textwrap

import pytest

from twisted_index.testing import make_sdist, make_wheel


@pytest.fixture
def files(folder):
    made = [
        make_wheel("first", "1.0", requires=["second>=1"]),
        make_sdist("first", "1.0", requires=["second>=1"]),
        make_wheel("second", "1.0"),
        make_wheel("second", "1.1+local.1"),
    ]
    for file in made:
        file.write_to(folder / file.project)
    return made


@pytest.fixture
def project(shell):
    """Make a project that needs `first`, with the table that names its index."""

    def write(tables):
        home = shell.home / "project"
        home.mkdir()
        text = """
            [project]
            name = "user"
            version = "1"
            requires-python = ">=3.11"
            dependencies = ["first"]
        """
        (home / "pyproject.toml").write_text(textwrap.dedent(text) + textwrap.dedent(tables))
        return home

    return write


EXPECTED = {"first-1.0", "second-1.1+local.1"}


def test_uv_locks_and_installs(shell, find_program, server, files, folder, project, read_installed):
    """The lock holds digest, size and time of each file; a later version is seen when it is asked for."""
    uv = find_program("uv")
    home = project(f'[[tool.uv.index]]\nurl = "{server.simple}"\ndefault = true\n')

    shell.must(uv, "lock", cwd=home)
    lock = (home / "uv.lock").read_text()
    shell.must(uv, "sync", "--locked", "--no-install-project", cwd=home)

    assert read_installed(home / ".venv") >= EXPECTED
    for file in files:
        if file.filename.startswith("first") or "local" in file.filename:
            assert f"sha256:{file.sha256}" in lock
            assert f"size = {file.size}" in lock
    assert lock.count("upload-time = ") == lock.count("sha256:")
    shell.must(uv, "lock", "--check", cwd=home)
    assert (home / "uv.lock").read_text() == lock

    make_wheel("second", "2.0").write_to(folder / "second")
    shell.must(uv, "lock", "--upgrade", cwd=home)
    shell.must(uv, "sync", "--no-cache", cwd=home)

    assert "second-2.0" in read_installed(home / ".venv")


def test_poetry_locks_and_installs(shell, find_program, server, files, project, read_installed):
    poetry = find_program("poetry")
    home = project(
        f"""
        [tool.poetry]
        package-mode = false

        [[tool.poetry.source]]
        name = "ours"
        url = "{server.simple}"
        priority = "primary"
        """
    )

    shell.must(poetry, "lock", cwd=home)
    lock = (home / "poetry.lock").read_text()
    shell.must(poetry, "sync", "--no-root", cwd=home)

    assert read_installed(home / ".venv") >= EXPECTED
    assert f"sha256:{files[0].sha256}" in lock


def test_pdm_locks_and_installs(shell, find_program, server, files, project, read_installed):
    pdm = find_program("pdm")
    home = project(
        f"""
        [tool.pdm]
        distribution = false

        [[tool.pdm.source]]
        name = "pypi"
        url = "{server.simple}"
        """
    )

    shell.must(pdm, "lock", cwd=home)
    lock = (home / "pdm.lock").read_text()
    shell.must(pdm, "sync", cwd=home)

    assert read_installed(home / ".venv") >= EXPECTED
    assert f"sha256:{files[0].sha256}" in lock
