"""
Where in a bucket, whose keys are sorted, the folders and flat files of one project can be.

A project's name may be spelled in many ways, which lie far apart: with other case, and runs of `-`, `_` and
`.` (PyPA specification of names). So a search seeks from each key to the next place where one of them can
begin, and passes over all between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_index.backends.object_store.project_listing import listing_of_project, project_of_key
from twisted_index.errors import Unavailable

if TYPE_CHECKING:
    from twisted_index.backends.object_store.bucket import Bucket, StoredObject
    from twisted_index.backends.object_store.held_listings import Hold
    from twisted_index.backends.object_store.project_listing import ProjectListing

_SEPARATORS = "-._"
#: Where those characters begin, after digits and letters, that are neither: what begins with one of all such
#: may be a damaged or hidden file of any project.
_STRAYS = ":[{"
#: After all keys in a folder.
_LAST = "/\U0010ffff"


def list_spellings(bucket: Bucket, project: str, hold: Hold, *, limit: int) -> ProjectListing | None:
    """
    List all that is named for a project; blocks.

    Args:
        bucket: The bucket.
        project: The normalized project name.
        hold: That of the listing.
        limit: Requests that may bring nothing of the project.

    Returns:
        None if there would be more: the name begins those of many others.
    """
    objects: dict[str, StoredObject] = {}
    unusable: list[str] = []
    start: str | None = ""
    while start is not None:
        listing = bucket.list_after(start)
        found = {key: stored for key, stored in listing.objects.items() if project_of_key(key) == project}
        objects |= found
        unusable += listing.unusable
        limit -= not found
        if listing.is_complete:
            break
        if limit < 0:
            return None
        if not listing.objects:
            raise Unavailable("The object store lists nothing, and says that more follows.")
        start = next_place(project, max(listing.objects))
    return listing_of_project(project, objects, unusable, hold)


def next_place(project: str, key: str) -> str | None:
    """
    Return after which key the next one of a project can be.

    Args:
        project: The normalized project name.
        key: The last key that was seen.

    Returns:
        That key or a later one; None if no later key can be of the project.
    """
    name, slash, _rest = key.partition("/")
    if slash and project_of_key(key) != project:
        key = max(key, name + _LAST)
    state = 0
    states = []
    for char in key:
        states.append(state)
        following = _step(project, state, char)
        if following is None:
            return _later_place(project, key, states)
        state = following
        if state == len(project):
            # All of the name is there: what follows may be a version, or whatever a damaged name has.
            return key
    return key


def _step(project: str, state: int, char: str) -> int | None:
    """Return how many characters of a name are there with another one; None if it is no spelling."""
    is_alphanumeric = char.isascii() and char.isalnum()
    if not state and not is_alphanumeric:
        return len(project)
    if char in _SEPARATORS:
        if project[state] == "-":
            return state + 1
        return state if project[state - 1] == "-" else None
    return state + 1 if is_alphanumeric and char.lower() == project[state] else None


def _later_place(project: str, key: str, states: list[int]) -> str | None:
    """Return the first place after a key that no spelling begins with."""
    for at in range(len(states) - 1, -1, -1):
        above = [char for char in _options(project, states[at]) if char > key[at]]
        if above:
            return _lowest(project, states[at], key[:at], min(above))
    return None


def _options(project: str, state: int) -> str:
    char = project[state]
    if char == "-":
        return _SEPARATORS
    cases = char + char.upper()
    if not state:
        return cases + _STRAYS
    return cases + _SEPARATORS if project[state - 1] == "-" else cases


def _lowest(project: str, state: int, before: str, char: str) -> str:
    """Return the lowest spelling that begins so, up to a separator, of which there may be any number."""
    place = before + char
    if char in _STRAYS or char in _SEPARATORS:
        return place
    rest = project[state + 1 :]
    word, separator, _more = rest.partition("-")
    return place + word.upper() + separator
