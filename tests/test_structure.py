"""The order of the folders and modules, and what is imported when."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "twisted_index"

#: Ground to roof: a module imports only from its own row and those above it. Annotations count too.
ROWS = {
    "": [
        ["errors", "_twisted"],
        ["simple", "http_semantics"],
        ["concurrency"],
        ["files"],
        ["tls"],
        ["http_client"],
        ["github"],
        ["interfaces"],
        ["metrics"],
        ["statistics"],
        ["config"],
        ["events"],
        ["access"],
        ["backends"],
        ["indexes"],
        ["search"],
        ["resolution"],
        ["mirror"],
        ["replication"],
        ["export"],
        ["web"],
        ["server"],
        ["service"],
        ["tap"],
        ["cli", "testing", "__main__"],
    ],
    "backends": [["layout"], ["folder", "object_store", "upstream"]],
    "web": [
        ["pages"],
        ["responses"],
        ["requests"],
        ["uploads", "views"],
        ["endpoints", "relay"],
        ["dispatcher"],
        ["dispatchers"],
        ["resource"],
        ["server"],
    ],
}
#: Backends know nothing of each other.
BACKENDS = ("backends.folder", "backends.upstream", "backends.object_store")
APART = {(one, other) for one in BACKENDS for other in BACKENDS if one != other}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    """The dotted name of a module below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def _imports(path: Path) -> Iterator[str]:
    """The modules of the package that a module imports anywhere, for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "twisted_index":
            module = (node.module or "").removeprefix("twisted_index").lstrip(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".lstrip(".")
                yield whole if whole in NAMES else module
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("twisted_index.")
                for alias in node.names
                if alias.name.startswith("twisted_index.")
            )


NAMES = {_name(path) for path in MODULES}


def _rank(rows: list[list[str]], name: str) -> int:
    return next(rank for rank, names in enumerate(rows) if name in names)


def _climbs(folder: str, own: str, other: str) -> bool:
    """Tell whether a module of a folder imports one that stands above it."""
    prefix = f"{folder}." if folder else ""
    if not (own.startswith(prefix) and other.startswith(prefix) and own and other):
        return False
    names = (name.removeprefix(prefix).split(".")[0] for name in (own, other))
    here, there = (_rank(ROWS[folder], name) for name in names)
    return there > here


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_from_the_rows_above_it(path: Path):
    own = _name(path)
    assert [other for other in _imports(path) for folder in ROWS if _climbs(folder, own, other)] == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_backends_and_http_know_nothing_of_each_other(path: Path):
    own = _name(path)
    apart = {("web", "backends"), ("backends", "web"), *APART}
    met = {
        other
        for other in _imports(path)
        for one, two in apart
        if own.startswith(f"{one}.") and other.startswith(f"{two}.")
    }
    assert met == set()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_that_a_docstring_refers_to_exists(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    modules = {_name(module) for module in MODULES}
    named = [
        name.removesuffix(".py").replace("/", ".")
        for reference in re.findall(r"\(see ([^)]*)\)", docstring)
        for name in re.findall(r"`([a-z_./]+)`", reference)
    ]
    known = {name for name in named for module in modules if f".{module}.".find(f".{name}.") >= 0}
    assert sorted(set(named) - known) == []


def test_no_module_imports_itself_by_way_of_others():
    """Annotations count: a reader of one module need not have read the other first."""
    imports = {_name(path): {other for other in _imports(path) if other} - {_name(path)} for path in MODULES}
    while True:
        imported = set().union(*imports.values())
        kept = {name: others & imports.keys() for name, others in imports.items() if name in imported}
        kept = {name: others for name, others in kept.items() if others}
        if kept == imports:
            break
        imports = kept
    assert sorted(imports) == []


#: What each subcommand has, and what annotations need in each module.
EVERYWHERE = {"run", "K", "P", "T"}


def _public_names(path: Path) -> Iterator[str]:
    """The names that a module defines at its top, without those that it imports."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_no_public_name_means_two_things():
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for name in set(_public_names(path)):
            if not name.startswith("_") and name not in EVERYWHERE:
                homes.setdefault(name, []).append(_name(path))
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


#: Clients of HTTP, which only `http_client` may use, and the kit for tests.
CLIENTS = {"twisted.web.client", "twisted.web._newclient", "urllib.request", "http.client", "treq"}
#: Of an object store, whose requests are made in threads, also where no reactor runs, and go by its client
#: library: what that does not do goes the same way, with the same variables for proxies and certificates.
STORE_REQUESTS = {"backends/object_store/kept_connections.py": {"urllib.request", "http.client"}}


def _is_client(name: str) -> bool:
    return any(name == client or name.startswith(f"{client}.") for client in CLIENTS)


def _imported_names(path: Path) -> set[str]:
    """Whatever a module imports anywhere, in functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("http_client", "testing", "_twisted")
    ),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_other_servers_are_asked_by_one_client_only(path: Path):
    used = {name for name in _imported_names(path) if _is_client(name)}
    assert used == STORE_REQUESTS.get(path.relative_to(PACKAGE).as_posix(), set())


def test_the_test_of_clients_sees_every_way_to_import_one(tmp_path: Path):
    module = tmp_path / "module.py"
    module.write_text(
        "from urllib import request\n"
        "if TYPE_CHECKING:\n    from twisted.web.client import URI\n"
        "def later():\n    import http.client\n    import treq.client as client\n"
        "from twisted.web import http, _newclient\n"
    )
    assert {name for name in _imported_names(module) if _is_client(name)} == {
        "urllib.request",
        "twisted.web.client",
        "twisted.web.client.URI",
        "http.client",
        "treq.client",
        "twisted.web._newclient",
    }


@pytest.mark.parametrize("package", ["simple", "http_semantics"])
def test_the_pure_parts_know_nothing_of_the_reactor(package: str):
    for path in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = getattr(node, "module", "") or ""
            assert not module.startswith("twisted."), path


#: Private by their names only: named tuples, the `twist` script of each Twisted, and names of pyOpenSSL.
NOT_PRIVATE = {"_replace", "_twist", "_ssl", "_lib"}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in NOT_PRIVATE


def _private_names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The private names that a module defines, and those that it uses as attributes or imports of Twisted."""
    defined, used = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                defined.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                defined.add(name)
            case ast.Attribute(attr=name):
                used.add(name)
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(name), *_]
            ):
                used.add(name)
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("twisted."):
                used.update(part for part in module.split("."))
                used.update(alias.name for alias in names)
    return set(filter(_is_private, defined)), set(filter(_is_private, used))


TREES = {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if not _name(path).startswith("_twisted")], ids=_name
)
def test_private_names_of_twisted_are_used_in_one_place_only(path: Path):
    """A private name belongs to the module itself or to one that it imports, else it is Twisted's."""
    defined, used = _private_names(TREES[_name(path)])
    for other in _imports(path):
        if other and not other.startswith("_twisted"):
            defined |= _private_names(TREES[other])[0]
    assert used - defined == set()


def test_the_test_of_private_names_sees_every_way_to_use_one():
    module = ast.parse(
        "from twisted.web._newclient import STATUS\n"
        "from twisted.web.http import _Generic\n"
        "class Channel(HTTPChannel):\n"
        "    def idle(self):\n"
        "        self._own = self._HTTPChannel__line\n"
        "        return self._own or getattr(self.transport, '_buffer', self.named._replace())\n"
    )
    assert _private_names(module) == (
        {"_own"},
        {"_newclient", "_Generic", "_HTTPChannel__line", "_own", "_buffer"},
    )
