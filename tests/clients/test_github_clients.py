"""pip, uv and poetry install files of private releases through this server."""

from __future__ import annotations

import pytest

from tests.kit.github_server import GitHubServer
from twisted_index.testing import make_sdist, make_wheel

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
FILES = [
    make_wheel("demo", "1.0", requires=["demo-base>=2"]),
    make_wheel("demo", "1.1", requires=["demo-base>=2"], requires_python=">=99"),
    make_sdist("demo", "0.9"),
    make_wheel("demo-base", "2.0"),
    make_wheel("demo-local", "1.0+cu121"),
]
#: No setting of the machine that the tests run on.
NO_TOKENS = dict.fromkeys(
    ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "NETRC"), ""
)


@pytest.fixture(params=["github", "forgejo"])
def forge(request):
    with GitHubServer(forgejo=request.param == "forgejo") as server:
        repo = server.repository("octo/wheels", private=True)
        server.token(TOKEN, read=("octo/wheels",))
        repo.release("v1", {file.filename: file.content for file in FILES})
        yield server
        assert server.errors == []
        assert server.leaks(TOKEN) == []


@pytest.fixture
def start(forge, live_server, tmp_path):
    """Start the server before the releases, again with the same state."""

    def start(*options):
        folder, state, home = (tmp_path / name for name in ("own", "state", "its-home"))
        folder.mkdir(exist_ok=True)
        home.mkdir(exist_ok=True)
        env = NO_TOKENS | {
            "HOME": str(home),
            "GITHUB_TOKEN": TOKEN,
            "TWISTED_INDEX_UPSTREAM_ONLY": "demo demo-*",
            "TWISTED_INDEX_CACHE_TTL": "0",
        }
        word = forge.word("octo/wheels")
        return live_server(folder, state=state, options=["--upstream", word, *options], env=env)

    return start


def test_install_cold_warm_and_offline(forge, start, installer):
    server = start()
    wanted = {"demo-1.0", "demo_base-2.0"}
    cold = installer.install("--no-cache-dir", "--index-url", server.simple, "demo")
    downloads = forge.asked("storage")
    forge.forget()
    warm = installer.install("--no-cache-dir", "--index-url", server.simple, "demo")
    assert forge.asked("storage") == []
    server.stop()
    forge.close()
    server = start("--offline")
    offline = installer.install("--no-cache-dir", "--index-url", server.simple, "demo")
    assert (cold, warm, offline) == (wanted, wanted, wanted)
    assert bool(downloads) is not forge.is_forgejo
    assert TOKEN not in server.log


def test_install_goes_on_when_the_releases_cannot_be_asked(forge, start, installer):
    server = start()
    wanted = installer.install("--no-cache-dir", "--index-url", server.simple, "demo")
    forge.rule("", times=None, status=502)
    assert installer.install("--no-cache-dir", "--index-url", server.simple, "demo") == wanted


def test_poetry_locks_and_installs_cold_warm_and_offline(forge, start, shell, find_program, read_installed):
    poetry = find_program("poetry")

    def lock_and_install(server, name):
        """With a project, a cache and an environment of its own."""
        home = shell.home / name
        home.mkdir()
        (home / "pyproject.toml").write_text(f"""
[project]
name = "project"
version = "1"
requires-python = ">=3.11,<4"
dependencies = ["demo", "demo-local"]

[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "ours"
url = "{server.simple}"
priority = "primary"
""")
        env = {"POETRY_CACHE_DIR": str(home / "cache")}
        shell.must(poetry, "lock", cwd=home, env=env)
        shell.must(poetry, "sync", "--no-root", cwd=home, env=env)
        assert read_installed(home / ".venv") >= {"demo-1.0", "demo_base-2.0", "demo_local-1.0+cu121"}
        lock = (home / "poetry.lock").read_text()
        assert all(f"sha256:{file.sha256}" in lock for file in (FILES[0], FILES[3], FILES[4]))

    server = start()
    lock_and_install(server, "cold")
    forge.forget()
    lock_and_install(server, "warm")
    assert forge.asked("storage") == []
    server.stop()
    forge.close()
    lock_and_install(start("--offline"), "offline")


def test_uv_installs_from_its_lock_file(forge, start, shell, find_program, read_installed):
    uv, server = find_program("uv"), start()
    home = shell.home / "project"
    home.mkdir()
    (home / "pyproject.toml").write_text(f"""
[project]
name = "project"
version = "1"
requires-python = ">=3.11,<4"
dependencies = ["demo", "demo-local"]

[[tool.uv.index]]
url = "{server.simple}"
default = true
""")
    shell.must(uv, "lock", cwd=home)
    lock = (home / "uv.lock").read_text()
    shell.must(uv, "sync", "--no-cache", "--locked", cwd=home)
    assert read_installed(home / ".venv") >= {"demo-1.0", "demo_base-2.0", "demo_local-1.0+cu121"}
    for file in (FILES[0], FILES[3], FILES[4]):
        assert f"sha256:{file.sha256}" in lock


def test_a_name_that_is_not_given_to_the_repository_is_not_looked_for_in_it(forge, start, installer):
    repo = forge.forge.named("octo/wheels")
    other = make_wheel("requests", "99")
    repo.release("v2", {other.filename: other.content})
    server = start()
    outcome, found = installer.try_to_install("--index-url", server.simple, "requests")
    assert outcome.code != 0
    assert found == set()
    assert forge.asked(None) == []


def test_a_name_that_was_changed_at_upload_is_installed_under_its_own(start, forge, installer):
    if forge.is_forgejo:
        pytest.skip("Forgejo changes no names")
    release = forge.forge.named("octo/wheels").release("v2")
    labelled, bare = make_wheel("demo-labelled", "1.0+gpu.1"), make_wheel("demo-bare", "2.0+cpu")
    release.add(labelled.filename.replace("+", " "), labelled.content, label=labelled.filename)
    release.add(bare.filename.replace("+", " "), bare.content)
    assert [asset.name for asset in release.assets] == [
        "demo_labelled-1.0.gpu.1-py3-none-any.whl",
        "demo_bare-2.0.cpu-py3-none-any.whl",
    ]
    server = start()
    found = installer.install("--index-url", server.simple, "demo-labelled==1.0+gpu.1", "demo-bare==2.0+cpu")
    assert found == {"demo_labelled-1.0+gpu.1", "demo_bare-2.0+cpu"}


def test_a_file_without_a_digest_is_hashed_before_it_is_listed(
    start, forge, shell, find_program, read_installed
):
    repo = forge.forge.named("octo/wheels")
    for asset in repo.find("v1").assets:
        asset.has_digest = False
    server = start()
    lines = [f"{file.project}=={file.version} --hash=sha256:{file.sha256}" for file in (FILES[0], FILES[3])]
    (shell.home / "requirements.txt").write_text("\n".join(lines))
    command = [find_program("uv"), "pip", "install", "--require-hashes", "--index-url", server.simple]
    shell.must(*command, "--target", shell.home / "target", "-r", shell.home / "requirements.txt")
    assert read_installed(shell.home / "target") == {"demo-1.0", "demo_base-2.0"}
