"""
What holds for all tests: their marks, their turns, how hard properties try, and the real server.

`live_server` starts a server for one test; `server_factory` is for fixtures that keep one for a whole module.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.kit")  # before any of it is imported

from tests.kit import marks, object_stores
from tests.kit.bucket_folder import BucketFolder, environment_of, new_folder
from tests.kit.hostile_upstream import HostileUpstream
from tests.kit.live_server import START_SECONDS, LiveServer, running, start_server
from tests.kit.turns import turn
from twisted_index.testing.reactor_thread import BackgroundReactor

# A contributor's machine tries a few new examples each time; CI tries more, and always the same ones.
# Busy machines make neither a deadline nor a slow example a fault of the code.
settings.register_profile("dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# In a workflow it says that GITHUB_TOKEN is for GitHub, and the tokens of tests are for local servers.
os.environ.pop("GITHUB_API_URL", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by where it stands, and begin with those that take longest."""
    for item in items:
        marks.mark(item)
    items.sort(key=marks.order_of(items))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip importing other kinds when -m names one."""
    if collection_path.suffix != ".py" or config.option.markexpr not in marks.KINDS:
        return None
    return marks.kind_of(collection_path) != config.option.markexpr or None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """
    Start one worker more than there are cores, as many tests wait for what a server or its upstream does.

    For single files or tests there are none: starting them takes longer than such tests do.
    """
    named = any(".py" in str(word) for word in config.invocation_params.args)
    if named:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


_turns = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
_stores = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the folders in which workers wait for each other, and share object stores."""
    if not hasattr(config, "workerinput"):
        config.stash[_turns] = tempfile.TemporaryDirectory(prefix="twisted-index-tests-")
        config.add_cleanup(config.stash[_turns].cleanup)
        # Stores have sockets in theirs, so its path has to be short.
        stores = Path(tempfile.mkdtemp(prefix="ti-stores-", dir="/tmp" if os.name == "posix" else None))
        config.stash[_stores] = stores
        config.add_cleanup(lambda: shutil.rmtree(stores, ignore_errors=True))
        config.add_cleanup(lambda: object_stores.end_all(stores))


def pytest_configure_node(node: Any) -> None:
    """Pass the folders to a worker."""
    node.workerinput["turns"] = node.config.stash[_turns].name
    node.workerinput["stores"] = str(node.config.stash[_stores])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Run a `serial` test while no other worker runs anything."""
    folder = getattr(item.config, "workerinput", {}).get("turns")
    with turn(folder, alone=item.get_closest_marker("serial") is not None):
        return (yield)


ServerFactory = Callable[..., LiveServer]


@pytest.fixture(scope="module")
def background() -> Iterator[BackgroundReactor]:
    """A reactor in a thread of its own, for all tests of a module."""
    reactor = BackgroundReactor()
    yield reactor
    reactor.stop(10)


@pytest.fixture
def hostile() -> Iterator[HostileUpstream]:
    """A server that sends what a test tells it to, and breaks off where it is to."""
    made = HostileUpstream()
    yield made
    made.close()


@pytest.fixture(scope="session")
def server_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """
    Start servers: `server_factory(folder, …, options=["--cors"], state=None, env=None, open_files=None)`.

    A folder may be the URL of a bucket, or a BucketFolder, which has its credentials. A server that is not to
    be healthy is waited for until it answers.

    The caller may stop them; the rest are stopped at the end.
    """
    started: list[LiveServer] = []

    def start(
        *folders: str | Path,
        options: Iterable[str] = (),
        state: Path | None = None,
        env: Mapping[str, str] | None = None,
        open_files: int | None = None,
        healthy: bool = True,
    ) -> LiveServer:
        state = state or tmp_path_factory.mktemp("state") / "state"
        for _ in range(3):  # another program may have taken the port since we looked
            environment = environment_of(folders) | dict(env or {})
            server = start_server(folders, state, tuple(options), environment, open_files)
            running.append(server)
            started.append(server)
            if server.wait_until_it_answers(time.monotonic() + START_SECONDS, healthy=healthy):
                return server
            server.stop()
            if "in use" not in server.log:
                break
        pytest.fail(
            f"The server did not come up (exit code {server.process.poll()}):\n{server.log}", pytrace=False
        )

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def stores_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of the object stores that all workers of this run share."""
    passed = getattr(request.config, "workerinput", None)
    return request.config.stash[_stores] if passed is None else Path(passed["stores"])


@pytest.fixture
def ceph(stores_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in a bucket of Ceph; the environment has its credentials."""
    return object_stores.empty_place("ceph", stores_folder, monkeypatch)


@pytest.fixture(params=list(object_stores.STORES))
def any_store(request: pytest.FixtureRequest, stores_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in each kind of store."""
    return object_stores.empty_place(request.param, stores_folder, monkeypatch)


@pytest.fixture(scope="session")
def all_operate(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that show the problems to everyone also on a bucket, where servers expect tokens."""
    rights = tmp_path_factory.mktemp("rights") / "rights.toml"
    rights.write_text('[[rule]]\nallow = ["operate"]\nto = ["everyone"]\n')
    return ["--rights", str(rights)]


@pytest.fixture
def live_server(server_factory: ServerFactory) -> Iterator[ServerFactory]:
    """Start servers as `server_factory` does, for one test; at its end none may have logged a traceback."""
    started: list[LiveServer] = []

    def start(*folders: str | Path, **options: Any) -> LiveServer:
        started.append(server_factory(*folders, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()
        assert "Traceback (most recent call last)" not in server.log, server.log


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that is marked `places` on a folder, and on a bucket of Ceph too."""
    if metafunc.definition.get_closest_marker("places") is None:
        return
    kept = metafunc.definition.get_closest_marker("folder_only") is not None
    for fixture in {"module_folder", "served"}.intersection(metafunc.fixturenames):
        metafunc.parametrize(fixture, ["folder"] if kept else ["folder", "ceph"], indirect=True)


@pytest.fixture(scope="module")
def module_folder(
    request: pytest.FixtureRequest, stores_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The folder of a server that all tests of a module share; in a module marked `places` also a bucket."""
    return new_folder(getattr(request, "param", "folder"), stores_folder, tmp_path_factory)


@pytest.fixture(scope="module")
def module_server(module_folder: Path, server_factory: ServerFactory) -> Iterator[Callable[..., LiveServer]]:
    """
    Start that server, or give the one that was started before with the same options.

    A test that uses it empties the folder first; that the server notices is what it promises.
    """
    started: dict[tuple[str, ...], LiveServer] = {}

    def start(*options: str) -> LiveServer:
        if options not in started:
            started[options] = server_factory(module_folder, options=options)
        return started[options]

    yield start
    for server in started.values():
        server.stop()
        assert "Traceback (most recent call last)" not in server.log, server.log


@pytest.fixture
def emptied_folder(module_folder: Any) -> Any:
    """The folder of `module_server`, with nothing in it."""
    if isinstance(module_folder, BucketFolder):
        module_folder.empty()
        return module_folder
    for entry in module_folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return module_folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show with a failed test what its servers said."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        for server in running:
            text = "\n".join(server.log.splitlines()[-60:])
            report.sections.append((f"log of the server at port {server.port}", text))  # type: ignore[attr-defined]
    return report
