"""What `download` and `prefetch` share: what the command line requests, resolved for each target."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from twisted_index.concurrency.parallel import at_once
from twisted_index.errors import ConfigurationError, SimpleIndexError
from twisted_index.mirror.pinned_pull import merged
from twisted_index.resolution.completeness import unmet
from twisted_index.resolution.pinned_files import Formats
from twisted_index.resolution.resolver import check_resolver, read_wanted, resolve
from twisted_index.resolution.targets import folded, targets
from twisted_index.resolution.uv import Unresolvable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from twisted_index.concurrency.thread_pool import IThreadRunner
    from twisted_index.resolution.pins import Pin
    from twisted_index.resolution.targets import Target
    from twisted_index.resolution.uv import IndexAccess

#: Resolvers that run at once: each uses all processors.
_RESOLVERS = 2


class Resolution:
    """
    What is requested.

    Args:
        options: With the options of `RequirementsParser.add_requirements`.
        verb: What the command does with it, for messages.

    Attributes:
        targets: The Pythons and platforms.
        formats: Which kinds of files may be taken.
        left_out: A sentence for each thing asked for that no index can serve.

    Raises:
        ConfigurationError: Nothing is requested, or it cannot be read, or resolved here.
    """

    def __init__(self, options: argparse.Namespace, verb: str) -> None:
        words = [*options.requirements, *(f"--editable={path}" for path in options.editable)]
        self._wanted = read_wanted(words, options.requirement, options.constraint)
        self.left_out = self._wanted.left_out
        if self._wanted.is_empty:
            raise ConfigurationError(
                "\n".join(self.left_out)
                or f"There is nothing to {verb}; give requirements, or a file of them with -r."
            )
        self.targets = targets(options.python_version, options.platform)
        check_resolver(self._wanted, self.targets)
        given = [*self._wanted.requirements.options, *(options.formats or [])]
        self.formats = Formats(given)
        self._pre = ["--pre"] if options.pre or "--pre" in given else []

    def say_remarks(self) -> None:
        """Write what is left out, and what has no effect, to standard error."""
        for sentence in [*self.left_out, *self._wanted.requirements.ignored]:
            print(f"twisted-index: {sentence}", file=sys.stderr)

    async def resolve(self, index: IndexAccess, worker: IThreadRunner) -> Mapping[Pin, tuple[Target, ...]]:
        """
        Choose versions for all targets.

        Args:
            index: The only index that is read.
            worker: Threads.

        Returns:
            The targets of each pin.

        Raises:
            Unresolvable: There are none for a target; the message is about all these.
        """
        words = [*self.formats.words(), *self._pre]
        unresolved: list[tuple[Target, str]] = []

        async def work(target: Target) -> tuple[Pin, ...]:
            try:
                return await worker.run(resolve, self._wanted, target, index, words)
            except SimpleIndexError as error:
                unresolved.append((target, error.message))
                return ()

        found = await at_once(_RESOLVERS, work, self.targets)
        if unresolved:
            raise Unresolvable("\n".join(folded(unresolved)))
        return merged(dict(zip(self.targets, found, strict=True)))

    async def unmet(
        self, root: bytes, pins: Mapping[Pin, tuple[Target, ...]], worker: IThreadRunner
    ) -> Mapping[Target, tuple[str, ...]]:
        """Find what each target lacks in a folder; see `completeness.unmet`."""

        async def work(target: Target) -> tuple[str, ...]:
            own = [pin for pin in pins if target in pins[pin]]
            return await worker.run(unmet, root, target, own, self._wanted.lines(own), self._pre)

        return dict(zip(self.targets, await at_once(_RESOLVERS, work, self.targets), strict=True))
