"""The random generators of models, put back into an earlier state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesa import Agent


def restorer(agents: Iterable[Agent], *others: Random) -> Callable[[], None]:
    """Remember the random state of the agents' models.

    Args:
        agents: their models' `random` and `rng` are remembered.
        others: further generators to remember.

    Returns:
        A function that puts all of them back.
    """
    models = {id(agent.model): agent.model for agent in agents}.values()
    generators = {id(generator): generator for generator in [*(model.random for model in models), *others]}.values()
    states = [(generator, generator.getstate()) for generator in generators]
    bit_states = [(model.rng.bit_generator, model.rng.bit_generator.state) for model in models]

    def restore() -> None:
        for generator, state in states:
            generator.setstate(state)
        for bit_generator, bit_state in bit_states:
            bit_generator.state = bit_state

    return restore
