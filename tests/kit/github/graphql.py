"""The few GraphQL queries that `gh` sends where it does not use the API of releases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.kit.github.views import stamp
from tests.kit.github.wire import Answer, as_json

if TYPE_CHECKING:
    from tests.kit.github.api import Visit
    from tests.kit.github.model import Release


def answer_query(visit: Visit, document: dict[str, Any]) -> Answer:
    """Answer what `gh` asks about releases; all else is an error that names the query."""
    variables, query = document.get("variables", {}), document.get("query", "")
    if "releases(" not in query and "release(" not in query:
        return as_json({"errors": [{"message": f"no answer to {query!r}"}]})
    repo = visit.readable(visit.api.forge.named(f"{variables['owner']}/{variables['name']}"))
    seen = repo.releases if visit.can_write(repo) else repo.published
    if "release(" in query:
        found = next((release for release in seen if release.tag == variables["tagName"]), None)
        return as_json({"data": {"repository": {"release": found and _node(found, query)}}})
    newest = sorted(seen, key=lambda release: release.id, reverse=True)
    nodes = [_node(release, query) for release in newest]
    page = {"hasNextPage": False, "endCursor": ""}
    return as_json({"data": {"repository": {"releases": {"nodes": nodes, "pageInfo": page}}}})


def _node(release: Release, query: str) -> dict[str, Any]:
    """Give the fields that the query names, as `gh` takes no other."""
    fields = {
        "databaseId": release.id,
        "name": release.name,
        "tagName": release.tag,
        "isDraft": release.is_draft,
        "isLatest": release is release.repo.latest,
        "isPrerelease": release.is_prerelease,
        "createdAt": stamp(release.created),
        "publishedAt": stamp(release.published),
    }
    selection = re.split(r"releases?\([^)]*\)", query)[1]
    return {name: value for name, value in fields.items() if re.search(rf"\b{name}\b", selection)}
