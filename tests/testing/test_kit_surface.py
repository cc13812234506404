"""What the kit offers, and what it asks for."""

from __future__ import annotations

import twisted_index.testing


def test_every_public_name_is_there_and_says_what_it_is_for():
    for name in twisted_index.testing.__all__:
        assert getattr(twisted_index.testing, name).__doc__, name


def test_all_that_is_imported_for_users_is_public():
    found = {
        name
        for name, value in vars(twisted_index.testing).items()
        if getattr(value, "__module__", "").startswith("twisted_index.testing.")
    }
    assert found <= set(twisted_index.testing.__all__)
