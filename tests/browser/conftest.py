"""Chromium before an index with projects that people look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.browsing import LOOKS, Visit
from tests.kit.live_server import LiveServer
from twisted_index.testing import make_sdist, make_wheel

DESCRIPTION = """\
# demo-tool

Does what a **demo** does, see [its site](https://example.org/).

| What | How |
| ---- | --- |
| one  | two |

```python
import demo_tool
print("a line that is longer than the screen of any phone, so that it has to scroll by itself alone")
```
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start Debian's Chromium, by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed; .ci/run installs it")
    with api.sync_playwright() as playwright:
        # Root has no sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(server_factory: Any, tmp_path_factory: pytest.TempPathFactory) -> LiveServer:
    """Serve projects of every kind."""
    folder = tmp_path_factory.mktemp("packages")
    about = [
        "Summary: Does what a demo does",
        "Keywords: show,example",
        "License-Expression: MIT",
        "Project-URL: Source, https://example.org/demo-tool",
        "Classifier: Programming Language :: Python :: 3",
        "Description-Content-Type: text/markdown",
    ]
    demo, old = folder / "demo-tool", make_wheel("demo-tool", "1.0")
    for version in ("1.1", "2.0"):
        lines = ["Metadata-Version: 2.4", "Name: demo-tool", f"Version: {version}", *about]
        lines += ["Requires-Python: >=3.9", "Requires-Dist: other-tool>=1", "", DESCRIPTION]
        files = {"demo_import/__init__.py": ""}
        make_wheel("demo-tool", version, metadata="\n".join(lines), files=files).write_to(demo)
    make_sdist("demo-tool", "2.0").write_to(demo)
    old.write_to(demo)
    (demo / f"{old.filename}.yanked").write_text("It forgets its <settings>.\n")
    make_wheel("other-tool", "1.0", extra_metadata=["Summary: Another tool"]).write_to(folder / "other-tool")
    long = "a-project-with-a-name-that-is-longer-than-any-screen-of-a-phone-can-show-in-one-line"
    make_wheel(long, "1.0", tag="cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64").write_to(folder)
    (folder / "broken-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    (folder / "some wheel (1).whl").write_bytes(b"no wheel")
    server: LiveServer = server_factory(folder)
    # An installer that looks for what is not there, and one that installs.
    server.get("/simple/absent/", headers={"User-Agent": "pip/26.0 " + PIP})
    server.get(f"/simple/demo-tool/{old.filename}", headers={"User-Agent": "pip/26.0 " + PIP})
    return server


PIP = '{"implementation":{"name":"CPython","version":"3.12.1"},"installer":{"name":"pip","version":"26.0"}}'


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> str:
    """How the page is looked at."""
    name: str = request.param
    return name


@pytest.fixture
def visit(chromium: Any, site: LiveServer) -> Iterator[Callable[..., Visit]]:
    """Open a window: `visit(look, java_script_enabled=False)`."""
    contexts = []

    def start(look: str = "light", **options: Any) -> Visit:
        context = chromium.new_context(**LOOKS[look], **options)
        contexts.append(context)
        return Visit(context.new_page(), site.origin)

    yield start
    for context in contexts:
        context.close()
