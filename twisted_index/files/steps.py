"""
A change of a folder as steps, one at a time.

After each step the folder is in a valid state, so the process may die between any two. Tests pass a function
that lets it die there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

#: Carries out one step.
RunStep: TypeAlias = "Callable[[Callable[[], object]], object]"


def run_step(step: Callable[[], object]) -> None:
    """Carry out a step."""
    step()


class Steps:
    """
    Carries out steps: called with a function and its arguments.

    Args:
        run: Is called with each step.
    """

    def __init__(self, run: RunStep = run_step) -> None:
        self.run = run

    def __call__(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Carry out one step."""
        self.run(partial(function, *args, **kwargs))
