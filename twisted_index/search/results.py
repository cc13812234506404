"""What a search finds: the projects that match, before rights and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from twisted_index.search.name_match import Match, Names, Typo

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from twisted_index.search.query import Query
    from twisted_index.search.row import ProjectRow
    from twisted_index.search.row_store import RowStore


class Hit(NamedTuple):
    """
    A project that was searched for.

    Attributes:
        row: The project.
        why: Why it is among the results, where its name does not show that: `imports PIL`.
    """

    row: ProjectRow
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResults:
    """
    What a search finds of the projects that a client may read.

    Attributes:
        results: The best, best first.
        total: How many there are.
        known: Of how many projects more than the name is known. None where the rights to all of very many
            projects would have to be looked up for that.
        projects: How many projects there are; None as well.
        suggestion: A name that may have been meant, if none has what was typed in it.
    """

    results: tuple[Hit, ...] = ()
    total: int = 0
    known: int | None = 0
    projects: int | None = 0
    suggestion: str | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """
    All projects that match a query, before rights.

    Attributes:
        names: Those whose names or import names match, best first.
        typos: Names that may have been meant, the nearest first.
        texts: Those whose texts match, best first.
        imports: Which import name was meant, in lower case, by project.
    """

    names: Sequence[str] = ()
    typos: Sequence[Typo] = ()
    texts: Sequence[str] = ()
    imports: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> list[str]:
        """Return the names of all of them, each once."""
        return list(dict.fromkeys([*self.names, *(typo.name for typo in self.typos), *self.texts]))

    def readable(self, names: Collection[str] | None) -> tuple[list[str], str | None]:
        """
        Return what a client may know of.

        Args:
            names: The projects that the client may read; None for all.

        Returns:
            The projects, best first, and the one that may have been meant. Names that differ from the query
            count only where none has it in it.
        """
        lists: list[Sequence[str]] = [self.names, [typo.name for typo in self.typos], self.texts]
        if names is not None:
            lists = [[name for name in some if name in names] for some in lists]
        ranked, typos, texts = lists
        typos = () if ranked else typos
        return list(dict.fromkeys([*ranked, *typos, *texts])), typos[0] if typos else None

    def why(self, row: ProjectRow, query: Query) -> str:
        """Say why a project is among the results, where what is shown of it does not."""
        modules = (*query.modules, self.imports.get(row.name, ""))
        reasons = [f"imports {module}" for module in row.import_names if module.lower() in modules]
        reasons += [f"requires {name}" for name in query.requires if name in row.requires]
        return ", ".join(reasons)


def candidates(store: RowStore, query: Query, names: Names, *, public: bool = False) -> Candidates:
    """
    Find all that matches; blocks.

    Args:
        store: Has the rows.
        query: What is searched for.
        names: Of all projects.
        public: Whether all of it may be read: then other names that may have been meant are not needed.
    """
    imported = store.importing(query.imported)
    begun = store.import_beginning(query.beginning) if query.beginning else {}
    hows = {**dict.fromkeys(begun, Match.IMPORT_PREFIX), **dict.fromkeys(imported, Match.IMPORT)}
    for name, how in names.matching(query).items():
        hows[name] = min(how, hows.get(name, how))
    texts = store.matching(query)
    within = _within(store, query)
    if within is not None:
        hows = {name: how for name, how in hows.items() if name in within}
        texts = [name for name in texts if name in within] if query.terms else sorted(within)
    # Not `hows.keys() & names.present`, which goes through all names. `a.b` is rather what has that than
    # what has only `a`.
    ranked = sorted(
        names.present.intersection(hows),
        key=lambda name: (hows[name], -len(imported.get(name, "")), name),
    )
    typos = [] if within is not None or (public and ranked) else names.typos(query)
    texts = [name for name in texts if name in names.present]
    return Candidates(ranked, typos, texts, {**begun, **imported})


def _within(store: RowStore, query: Query) -> set[str] | None:
    """Return the projects that `module:` and `requires:` leave; None without those."""
    sets = [set(store.importing([module])) for module in query.modules]
    sets += [set(store.requiring(name)) for name in query.requires]
    return set.intersection(*sets) if sets else None
