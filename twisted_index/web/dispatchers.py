"""
The dispatchers of a resource: one for each scope that clients ask for, each as if it were mounted there.

They share their caches, so that a thousand indexes have the memory of one. The keys of each dispatcher begin
differently: one that takes another's place finds nothing of it.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING

from twisted_index.errors import SimpleIndexError
from twisted_index.indexes.scope import PLAIN, split_scope
from twisted_index.indexes.served_index import ServedIndex
from twisted_index.web.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from twisted_index.indexes.scope import Scope
    from twisted_index.indexes.served_index import IIndexes
    from twisted_index.interfaces import IAccessControl
    from twisted_index.web.dispatcher import Caches, Environment
    from twisted_index.web.responses.shared_caches import SharedCaches

#: Dispatchers that are kept besides that of the index without a name; each holds what its index is made of.
_MOST = 256


class Dispatchers:
    """
    Makes and keeps dispatchers, until settings are reloaded.

    Args:
        environment: What stays when settings are reloaded.
        plain: What the index without a name serves where there is no registry; else what an index has if the
            registry cannot say.
        access: Who may do what; without it everyone may read, and nothing can be changed.
        indexes: The registry; without it there is the index without a name only.
        caches: The responses of all dispatchers.
    """

    def __init__(
        self,
        environment: Environment,
        plain: ServedIndex,
        access: IAccessControl | None,
        indexes: IIndexes | None,
        caches: SharedCaches,
    ) -> None:
        self._environment = environment
        self._fallback = plain
        self._access = access
        self._indexes = indexes
        self._recent = None if indexes is None else indexes.recent
        self._caches = caches
        self._serials = count()
        self._kept: OrderedDict[Scope, Dispatcher] = OrderedDict()
        self._plain = self._make(PLAIN, plain) if indexes is None else None

    def split(self, segments: Sequence[bytes]) -> tuple[Scope, int]:
        """
        Return the scope of a path below the mount point, and the number of segments that name it.

        What looks like a scope and can be none is left to the routes, which know other uses of a plus, and
        nothing is there.
        """
        if self._indexes is None or not segments or not segments[0].startswith(b"+"):
            return PLAIN, 0
        scope, taken, is_known = split_scope(segments)
        return (scope, taken) if is_known else (PLAIN, 0)

    def look(self, scope: Scope) -> Awaitable[None] | None:
        """Read again what the index of a scope is made of, if that takes its time; see `IIndexes.look`."""
        return None if self._indexes is None else self._indexes.look(scope)

    def at(self, scope: Scope, fault: SimpleIndexError | None = None) -> Dispatcher:
        """
        Return what serves a request; one that only refuses where there is no such index.

        Args:
            scope: What the URL of the request is about.
            fault: Why its index could not be looked at.
        """
        if self._indexes is None:
            assert self._plain is not None
            return self._plain
        try:
            if fault is not None:
                raise fault
            served = self._indexes.find(scope)
        except SimpleIndexError as error:
            self._forget(scope)
            return self._make_faulty(scope, error)
        kept = self._plain if scope == PLAIN else self._kept.get(scope)
        if kept is None or kept.served is not served:
            self._forget(scope)
            kept = self._make(scope, served)
            self._keep(scope, kept)
        elif scope != PLAIN:
            self._kept.move_to_end(scope)
        return kept

    def caches(self, scope: Scope = PLAIN) -> Caches | None:
        """Return the responses that are current now; None if only a whole look can tell."""
        kept = self._plain if scope is PLAIN else self._kept.get(scope)
        if kept is None or (self._recent is not None and self._recent(scope) is not kept.served):
            return None
        return kept.caches

    def stop_waiting(self) -> None:
        """Respond to the clients that wait for changes; they ask again, and get what holds now."""
        for scope in (PLAIN, *self._kept):
            self._stop_waiting(scope)

    def _make(self, scope: Scope, served: ServedIndex, fault: SimpleIndexError | None = None) -> Dispatcher:
        serial = next(self._serials)
        # The first dispatcher is nearly always the only one: its keys are those of the requests.
        caches = self._caches.beginning(f"{serial}/" if serial else "")
        return Dispatcher(self._environment, scope, served, self._access, caches, fault)

    def _make_faulty(self, scope: Scope, error: SimpleIndexError) -> Dispatcher:
        plain = self._fallback
        served = ServedIndex(
            scope=scope,
            line=(scope.index,),
            source=plain.source,
            # To those without rights, what is not there looks like what is.
            store=None if scope.as_of else plain.store,
            uploads=plain.uploads,
        )
        return self._make(scope, served, error)

    def _keep(self, scope: Scope, dispatcher: Dispatcher) -> None:
        if scope == PLAIN:
            self._plain = dispatcher
            return
        self._kept[scope] = dispatcher
        if len(self._kept) > _MOST:
            self._forget(next(iter(self._kept)))

    def _forget(self, scope: Scope) -> None:
        self._stop_waiting(scope)
        self._kept.pop(scope, None)

    def _stop_waiting(self, scope: Scope) -> None:
        dispatcher = self._plain if scope == PLAIN else self._kept.get(scope)
        if dispatcher is not None:
            dispatcher.stop_waiting()
