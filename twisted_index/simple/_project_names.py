"""Project names and their normalized form. Public through `names`."""

from __future__ import annotations

import re

# Core metadata specification, field "Name". The letters are spelled out: with IGNORECASE alone,
# U+212A (the Kelvin sign) would be a letter "k".
_PROJECT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def normalize(name: str) -> str:
    """Return the one spelling by which a project is looked up (PEP 503, "Normalized Names")."""
    # PEP 503 gives a regular expression; `replace` does the same in a third of the time.
    name = name.replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name.lower()


def is_valid_name(name: str) -> bool:
    """Whether a name is a valid project name (core metadata specification, field "Name")."""
    return _PROJECT_NAME.fullmatch(name) is not None
