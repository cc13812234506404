"""Pyodide, the Python of browsers, installs by its micropip from a live server."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from twisted_index.testing import make_sdist, make_wheel

#: Installs its arguments, and prints the result. It sends requests to the index alone.
SCRIPT = """
import { readFileSync } from "node:fs";
const [pyodideFolder, micropip, index, ...wanted] = process.argv.slice(2);
const { loadPyodide } = await import(`${pyodideFolder}/pyodide.mjs`);
const pyodide = await loadPyodide();
pyodide.unpackArchive(new Uint8Array(readFileSync(micropip)), "whl");
const install = pyodide.runPython(`
import json
import micropip

async def install(index, wanted):
    await micropip.install(wanted.to_py(), index_urls=[index])
    return json.dumps({name: package.version for name, package in micropip.list().items()})

install
`);
try {
    console.log("INSTALLED " + await install(index, wanted));
    process.exit(0);
} catch (error) {
    console.log(error.message);
    process.exit(1);
}
"""


@pytest.fixture
def micropip(shell, find_program):
    """Give the command that installs, but for the index and what is to come."""
    node = find_program("node")
    folder = os.environ.get("PYODIDE_FOLDER", "")
    wheels = sorted(Path(folder).glob("micropip-*.whl")) if folder else []
    if not wheels:
        pytest.skip("PYODIDE_FOLDER names no folder with Pyodide and micropip; .ci/run makes one")
    (shell.home / "install.mjs").write_text(SCRIPT)
    return [node, shell.home / "install.mjs", f"{folder}/node_modules/pyodide", wheels[-1]]


@pytest.fixture
def files(folder):
    for made in (
        make_wheel("first", "1.0", requires=["second>=1"]),
        make_sdist("first", "2.0"),
        make_wheel("second", "1.0"),
        make_wheel("second", "1.1+local.1"),
    ):
        made.write_to(folder / made.project)


EXPECTED = {"first": "1.0", "second": "1.1+local.1"}


@pytest.mark.parametrize("index", ["simple", "simple/", ""])
def test_micropip_installs(shell, micropip, module_server, files, index):
    """It adds a slash to the index URL, and takes the URLs of files as they are."""
    server = module_server("--cors")

    said = shell.must(*micropip, f"{server.origin}/{index}", "first")

    assert json.loads(said.rpartition("INSTALLED ")[2]) == EXPECTED


def test_micropip_installs_from_the_public_url(shell, micropip, module_server, live_server, files, folder):
    """Whatever the address that it was given: the page says where its files are."""
    elsewhere = module_server("--cors")
    server = live_server(folder, options=["--cors", "--public-url", elsewhere.origin])

    said = shell.must(*micropip, server.simple, "first")

    assert json.loads(said.rpartition("INSTALLED ")[2]) == EXPECTED
