"""What the front page says to type, typed: pip and uv install by every line of it, and by its files."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from twisted_index.testing import make_wheel

_COMMAND = re.compile(
    r'<span class="label">(.*?)</span><pre tabindex="0"><code>(.*?)</code></pre>', re.DOTALL
)


def fetch(url: str) -> str:
    with urlopen(Request(url, headers={"Accept": "text/html"})) as reply:
        return str(reply.read(), "utf-8")


@pytest.fixture
def lines(server: Any, folder: Path) -> list[tuple[str, str]]:
    """The label and the text of each command, in the order of the page."""
    make_wheel("demo", "1.0").write_to(folder)
    found = _COMMAND.findall(fetch(f"{server.origin}/"))
    texts = ((label, html.unescape(re.sub("</?span>", "", text))) for label, text in found)
    return [(label, text.replace("NAME", "demo")) for label, text in texts]


def test_pip_and_uv_install_by_their_lines(lines, shell, pip, uv):
    for installer, label, words in ((pip, "pip", 2), (uv, "uv", 3)):
        line = next(text for name, text in lines if name == label)
        assert installer.install(*line.split()[words:]) == {"demo-1.0"}


def test_what_makes_it_the_default_and_what_ends_that(lines, shell, pip):
    del shell.env["PIP_CONFIG_FILE"]
    default, undo = (
        next(text for _label, text in lines if text.startswith(f"pip config {word}"))
        for word in ("set", "unset")
    )
    shell.must(*pip.command[:2], *default.split())
    assert pip.install("demo") == {"demo-1.0"}
    shell.must(*pip.command[:2], *undo.split())
    assert "/simple/" not in shell.must(*pip.command[:2], "pip", "config", "list", "--user")


def test_requirements_and_variables_of_a_build(lines, shell, installer):
    texts = dict(lines)
    requirements = shell.home / "requirements.txt"
    requirements.write_text(texts["requirements"] + "\ndemo\n")
    assert installer.install("-r", requirements) == {"demo-1.0"}
    shell.env.update(re.findall("^ARG ([A-Z_]+)=(.*)$", texts["Dockerfile"], re.MULTILINE))
    assert installer.install("demo") == {"demo-1.0"}


def test_the_configuration_files(lines, shell, server, pip, uv):
    for name in ("pip.conf", "uv.toml"):
        (shell.home / name).write_text(fetch(f"{server.origin}/{name}"))
    shell.env["PIP_CONFIG_FILE"] = str(shell.home / "pip.conf")
    assert pip.install("demo") == {"demo-1.0"}
    assert uv.install("--config-file", shell.home / "uv.toml", "demo") == {"demo-1.0"}


@pytest.mark.parametrize("tool", ["uv", "poetry", "pdm"])
def test_a_project_gets_it_by_the_lines_of_its_tool(lines, shell, find_program, tool: str):
    find_program(tool)
    project = shell.home / "project"
    project.mkdir()
    more = {"poetry": "[tool.poetry]\npackage-mode = false\n", "pdm": "[tool.pdm]\ndistribution = false\n"}
    (project / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0"\nrequires-python = ">=3.11"\n' + more.get(tool, "")
    )
    text = next(
        text for _label, text in lines if text.startswith((f"{tool} add", f"{tool} source", f"{tool} config"))
    )
    for line in text.splitlines():
        shell.must(*line.split(), cwd=project)
    assert "demo" in (project / "pyproject.toml").read_text()
