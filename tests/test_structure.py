"""The order of the modules, and what is imported when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "twisted_index"

#: A module imports only from rows above its own (and from its own).
ROWS = [
    ["errors"],
    ["simple"],
    ["http_rules"],
    ["interfaces", "settings", "values", "commandline"],
    ["combinations"],
    ["ledger", "worker", "announce", "descriptors", "exposition", "observers", "hooks"],
    ["sources"],
    ["access", "store", "upstream"],
    ["web"],
    ["configuration", "composition", "reconfiguration"],
    ["assembly"],
    ["service"],
    ["tap"],
    ["commands", "testing", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("twisted_index."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "twisted_index":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("twisted_index.")]
            found.update(name.split(".")[1] for name in names)
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_module_imports_only_from_the_rows_above_it(path: Path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        assert _imports(path) == set()
        return
    assert own in RANK, f"{own} has no row yet"
    assert {name for name in _imports(path) if RANK[name] > RANK[own]} == set()


@pytest.mark.parametrize("package", ["simple", "http_rules"])
def test_the_pure_parts_know_nothing_of_the_reactor(package: str):
    for path in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = getattr(node, "module", "") or ""
            assert not module.startswith("twisted."), path


def test_importing_everything_installs_no_reactor():
    modules = [
        ".".join(("twisted_index", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py", "testing.py")
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print('twisted.internet.reactor' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.strip() == "False"
