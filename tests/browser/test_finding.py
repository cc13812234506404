"""How people find a project and take its command away: by keyboard, with and without scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.browsing import Visit

Visits = Callable[..., Visit]
#: As where pages come by plain http from another machine.
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"


def tab_to(page: Any, selector: str, most: int = 40) -> None:
    """Press the tabulator until an element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("one => document.activeElement.matches(one)", selector):
            return
    pytest.fail(f"{selector} is not reached by keyboard")


def pasted(page: Any) -> str:
    """Paste into the field of the search, and return what came."""
    page.locator("#q").fill("")
    page.keyboard.press("Control+V")
    return str(page.locator("#q").input_value())


@pytest.mark.parametrize("query", ["demo-tool", "demo_import", "dmeo-tool", "Demo"])
def test_a_form_finds_a_project_without_scripts(visit: Visits, query: str):
    page = visit(java_script_enabled=False).open("/")
    page.locator("#q").fill(query)
    page.locator("#q").press("Enter")
    page.locator("ul.results a").first.click()
    assert page.url.endswith("/project/demo-tool/")
    assert page.get_by_text("Does what a demo does").first.is_visible()


def test_without_scripts_there_is_no_button_that_does_nothing(visit: Visits):
    page = visit(java_script_enabled=False).open("/")
    assert page.locator("button.copy").count() > 0
    assert not page.locator("button.copy").first.is_visible()


def test_results_come_while_one_types_and_the_arrows_lead_to_them(visit: Visits):
    window = visit()
    page = window.open("/")
    tab_to(page, "#q")
    page.keyboard.type("demo_import")
    page.locator("#found a").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/project/demo-tool/")
    assert window.complaints == []


def test_escape_closes_the_results_and_stays_in_the_field(visit: Visits):
    page = visit().open("/")
    page.locator("#q").press_sequentially("demo")
    page.locator("#found a").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.locator("#found a").count() == 0
    assert page.evaluate("document.activeElement.id") == "q"


def test_axe_finds_nothing_in_the_results_that_come(visit: Visits, look: str):
    window = visit(look)
    page = window.open("/")
    page.locator("#q").press_sequentially("demo")
    page.locator("#found a").first.wait_for()
    assert not window.is_wider_than_the_screen
    assert window.violations() == []


@pytest.mark.parametrize("script", ["", NO_CLIPBOARD])
def test_a_project_is_found_and_its_command_copied_by_keyboard_alone(visit: Visits, script: str):
    window = visit(permissions=["clipboard-read", "clipboard-write"])
    window.page.add_init_script(script)
    page = window.open("/")
    tab_to(page, "#q")
    page.keyboard.type("demo-tool")
    page.keyboard.press("Enter")
    page.wait_for_url("**/-/search?q=demo-tool")
    tab_to(page, "ul.results a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/project/demo-tool/")
    tab_to(page, "button.copy")
    page.keyboard.press("Enter")
    page.get_by_text("Copied").wait_for()
    assert pasted(page) == f"pip install --index-url {window.origin}/simple/ demo-tool"
    assert window.complaints == []
