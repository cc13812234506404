"""A browser that people use, and what a page does in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

#: How people look at pages: Playwright's options of a context.
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}
_VIOLATIONS = """async () => (await axe.run()).violations.map(
    (one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(" ")}`
)"""


class Visit:
    """
    A page in a browser, which notes what it complains about.

    Args:
        page: Playwright's.
        origin: Of the server.

    Attributes:
        complaints: What its console and its scripts report as errors; among them all that its policy forbids.
    """

    def __init__(self, page: Any, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.complaints: list[str] = []
        page.on("console", lambda said: said.type in ("error", "warning") and self._note(said.text))
        page.on("pageerror", lambda error: self._note(str(error)))

    def _note(self, text: str) -> None:
        # That of a page that is meant to be one of an error.
        if "responded with a status of 404" not in text:
            self.complaints.append(text)

    def open(self, path: str) -> Any:
        """Open a page, and return it."""
        self.page.goto(self.origin + path)
        return self.page

    @property
    def is_wider_than_the_screen(self) -> bool:
        """Whether one has to scroll sideways."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        )

    def violations(self) -> list[str]:
        """Name what axe-core finds to keep people from using the page."""
        self.page.evaluate(axe())
        found: list[str] = self.page.evaluate(_VIOLATIONS)
        return found


def axe() -> str:
    """Return the source of axe-core; a test without it is skipped."""
    folder = os.environ.get("AXE_FOLDER")
    if not folder:
        pytest.skip("AXE_FOLDER names no folder with node_modules/axe-core; .ci/run makes one")
    return (Path(folder) / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
