"""uv, poetry, pdm and pip-tools lock a project against a live server; what they locked is installed."""

from __future__ import annotations

import base64
import hashlib
import textwrap

import pytest

from twisted_index.testing import make_sdist, make_wheel

pytestmark = pytest.mark.places


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


@pytest.mark.parametrize("index", ["simple/", "simple", "simple//"])
def test_pip_compile_downloads_no_file_for_its_digest(
    shell, pip, find_program, live_server, files, folder, index
):
    """It asks for them at /NAME/json, and takes those of the very URLs that the page has."""
    pip_compile = find_program("pip-compile")
    log = shell.home / "access.log"
    server = live_server(folder, options=["--access-log", str(log)])
    locked = shell.home / "requirements.txt"
    (shell.home / "requirements.in").write_text("first\n")

    url = f"{server.origin}/{index}"
    options = ("--strip-extras", "--generate-hashes", "--no-emit-index-url", "--index-url", url)
    shell.must(pip_compile, *options, "--output-file", locked, "requirements.in")
    server.stop()
    asked = log.read_text()

    for file in files:
        left_out = file.project == "second" and file.version == "1.0"
        assert (f"--hash=sha256:{file.sha256}" in locked.read_text()) is not left_out
        name = file.filename.replace("+", "%2B")
        assert f"/{name} HTTP" not in asked
    assert "/first/json HTTP" in asked

    again = live_server(folder)
    found = pip.install("--index-url", again.simple, "--require-hashes", "--requirement", locked)
    assert found == EXPECTED


def test_pip_compile_finds_the_digests_of_what_only_somebody_may_read(
    shell, find_program, live_server, files, folder
):
    """The name and the password in the index URL are in none of the URLs that are compared."""
    pip_compile = find_program("pip-compile")
    log, rights, users = (shell.home / name for name in ("access.log", "rights.toml", "htpasswd"))
    digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    users.write_text(f"alice:{{SHA}}{digest}\n")
    rights.write_text('[[rule]]\nprojects = "*"\nallow = ["read"]\nto = "alice"\n')
    options = ["--access-log", str(log), "--auth", f"htpasswd:{users}", "--rights", str(rights)]
    server = live_server(folder, options=options)
    (shell.home / "requirements.in").write_text("first\n")

    url = server.simple.replace("://", "://alice:secret@")
    options = ("--strip-extras", "--generate-hashes", "--no-emit-index-url", "--index-url", url)
    said = shell.must(pip_compile, *options, "--output-file", "-", "requirements.in")
    server.stop()

    assert f"--hash=sha256:{files[1].sha256}" in said
    assert ".tar.gz HTTP" not in log.read_text()
