"""Validation of specifier sets, for `core_metadata` and `parsed`."""

from __future__ import annotations

from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet


@lru_cache(maxsize=1024)  # a whole index has a few dozen distinct ones
def are_specifiers(text: str) -> bool:
    """Whether a text is a specifier set (PEP 440) in printable ASCII."""
    if not (text.isascii() and text.isprintable()):  # `===` accepts any text, pages and installers do not
        return False
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True
