"""
What is built, and that each way of installing it offers the server.

The plugin is the part that breaks silently: a wheel without it installs and imports well, and
`twistd simpleindex` is an unknown command.
"""

from __future__ import annotations

import ast
import email
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PLUGIN = "twisted/plugins/twisted_index_plugin.py"
CHECKER_PLUGIN = "twisted/plugins/twisted_index_htpasswd_plugin.py"


@pytest.fixture(scope="module")
def members(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def dist_info(members, name):
    (found,) = (content for path, content in members.items() if path.endswith(f".dist-info/{name}"))
    return found.decode()


# The sources


@pytest.mark.parametrize("name", ["twisted/__init__.py", "twisted/plugins/__init__.py"])
def test_the_folder_twisted_is_no_package(name):
    """The first would hide Twisted itself, the second the plugin: twisted.plugins extends its path."""
    assert not (REPOSITORY / name).exists()


def test_the_plugin_imports_nothing_but_twisted():
    """It is read by every twistd of the environment: an error in it shows in all of them."""
    tree = ast.parse((REPOSITORY / PLUGIN).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]

    assert [node.module for node in imports] == ["twisted.application.service"]


def test_the_plugin_for_users_imports_nothing_but_twisted_before_it_is_used():
    """It is read by every program that asks for Twisted's checkers."""
    tree = ast.parse((REPOSITORY / CHECKER_PLUGIN).read_text())
    imports = {node.module.partition(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}

    assert imports == {"twisted", "zope"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


def test_the_names_of_the_plugin_are_what_they_always_were():
    """An old dropin.cache knows them; after an upgrade a new name may not be seen."""
    tree = ast.parse((REPOSITORY / PLUGIN).read_text())
    (assignment,) = (node for node in tree.body if isinstance(node, ast.Assign))

    assert ast.unparse(assignment.targets[0]) == "twisted_index"
    assert ast.literal_eval(assignment.value.args[3]) == "simpleindex"
    assert ast.literal_eval(assignment.value.args[1]) == "twisted_index.tap"


# The wheel


def test_the_wheel_holds_the_package_and_the_two_plugin_files(members, checkout):
    package = {
        str(path.relative_to(checkout))
        for path in (checkout / "twisted_index").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in members if ".dist-info/" not in name} == package | {PLUGIN, CHECKER_PLUGIN}


def test_the_wheel_says_that_it_is_typed(members):
    assert "twisted_index/py.typed" in members


def test_the_wheel_says_what_it_is(members):
    metadata = email.message_from_string(dist_info(members, "METADATA"))

    assert metadata["Name"] == "twisted-index"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert "twisted-index = twisted_index.cli:main" in dist_info(members, "entry_points.txt")


# Each way to have it


def test_a_wheel_offers_twistd_simpleindex(installed, serve):
    assert serve(installed.script("twistd"), "-n", "--pidfile=", "simpleindex").get("/simple/")


def test_a_wheel_offers_the_command_twisted_index(installed, serve):
    serving = serve(installed.script("twisted-index"), "serve")

    assert serving.get("/simple/")
    assert not serving.log.read_text().startswith("{"), "the log is JSON"


def test_an_editable_installation_offers_twistd_simpleindex(editable, serve):
    assert serve(editable.script("twistd"), "-n", "--pidfile=", "simpleindex").get("/simple/")


def test_a_checkout_on_the_path_offers_twistd_simpleindex(bare, checkout, serve):
    serving = serve(bare.script("twistd"), "-n", "--pidfile=", "simpleindex", PYTHONPATH=str(checkout))

    assert serving.get("/simple/")


def test_a_checkout_offers_python_m_twisted_simpleindex(bare, checkout, serve):
    assert serve(str(bare.python), "-m", "twisted", "simpleindex", cwd=checkout).get("/simple/")


def test_a_checkout_offers_python_m_twisted_index(bare, checkout, serve):
    assert serve(str(bare.python), "-m", "twisted_index", "serve", cwd=checkout).get("/simple/")


def test_without_an_installation_there_is_no_such_command(bare, serve):
    """Else the tests above would prove nothing."""
    serving = serve(bare.script("twistd"), "-n", "--pidfile=", "simpleindex")

    assert serving.process.wait(30) != 0
    assert "Unknown command: simpleindex" in serving.log.read_text()
