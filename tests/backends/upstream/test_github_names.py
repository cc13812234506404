"""A repository adds to no name that is not its own, whatever its releases hold and the rules say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.configured_server import ConfiguredServer
from tests.kit.github.model import Repo
from tests.kit.github_server import GitHubServer
from tests.kit.live_server import JSON
from tests.kit.properties import examples
from twisted_index.errors import ConfigurationError
from twisted_index.testing import make_wheel

NAMES = ("demo", "demo-two", "requests", "other")
WHEELS = {name: make_wheel(name, "1.0") for name in NAMES}
patterns = st.sampled_from(["demo", "demo*", "demo-*", "requests", "*"])
#: A repository (True) or nowhere.
routes = st.lists(st.tuples(patterns, st.booleans()), max_size=3)


@pytest.fixture(scope="module")
def repo() -> Iterator[tuple[GitHubServer, Repo]]:
    with GitHubServer() as forge:
        yield forge, forge.repository("octo/wheels")


def written(
    word: str, is_plain: bool, only: list[str], local: list[str], rules: list[tuple[str, bool]]
) -> str:
    """The configuration file that says all this."""
    lines = [f'upstream = "{word}"'] if is_plain else []
    lines += [f"upstream-only = {json.dumps(only)}"] if only else []
    lines += [f"local-only = {json.dumps(local)}"] if local else []
    for pattern, is_repository in rules:
        lines += ["[[route]]", f'pattern = "{pattern}"'] + [f'upstream = "{word}"'] * is_repository
    return "\n".join(lines) + "\n"


def is_given(name: str, is_plain: bool, only: list[str], local: list[str], rules: list) -> bool:
    """Tell whether the rules give a name to the repository."""
    route = next((one for pattern, one in rules if fnmatchcase(name, pattern)), is_plain)
    outside = only and not any(fnmatchcase(name, pattern) for pattern in only)
    return route and not outside and not any(fnmatchcase(name, pattern) for pattern in local)


@examples(25, deadline=None)
@given(
    st.sets(st.sampled_from(NAMES)),
    st.booleans(),
    st.lists(patterns, max_size=2),
    st.lists(patterns, max_size=1),
    routes,
)
def test_a_repository_gets_no_request_for_a_name_that_no_rule_gives_it(
    repo, held, is_plain, only, local, rules
):
    forge, wheels = repo
    wheels.releases.clear()
    wheels.release("v1.0", {WHEELS[name].filename: WHEELS[name].content for name in held})
    forge.forget()
    with TemporaryDirectory() as folder:
        index = ConfiguredServer(Path(folder))
        try:
            index.start(written(forge.word(wheels), is_plain, only, local, rules))
        except ConfigurationError:
            is_unused = bool(only) and not is_plain and not any(one for _, one in rules)
            assert is_unused or (is_plain and not only)
            return
        try:
            mine = {name for name in NAMES if is_given(name, is_plain, only, local, rules)}
            for name in sorted(set(NAMES) - mine):
                assert index.ask(f"/simple/{name}/")[0] == 404
            assert forge.requests == []
            for name in sorted(mine):
                index._connection.request("GET", f"/simple/{name}/", headers={"Accept": JSON})
                answer = index._connection.getresponse()
                status, body = answer.status, answer.read()
                assert status == (200 if name in held else 404)
                listed = {file["filename"] for file in json.loads(body)["files"]} if status == 200 else set()
                assert listed <= {WHEELS[name].filename}
        finally:
            index.stop()
