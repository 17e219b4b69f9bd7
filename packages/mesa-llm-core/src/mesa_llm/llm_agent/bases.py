"""How `LLMAgent` stands beside agent classes whose constructors take arguments of their own, in either order of bases.

In `class Flier(LLMAgent, ContinuousSpaceAgent)`, `LLMAgent` hands on the keywords that it does not know. In
`class Guild(MetaAgent, LLMAgent)`, `MetaAgent` hands none on, so those of `LLMAgent` are kept aside before it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mesa import Agent

from mesa_llm.module_llm import SamplingOptions

if TYPE_CHECKING:
    from mesa_llm.llm_agent.llm_agent import LLMAgent

_KEPT = "_mesa_llm_kept_arguments"


class KeepsArguments(Agent):
    """Stands before a base that comes before `LLMAgent` and would refuse its keywords: keeps them for it.

    An agent class itself, because Python lets no base be added that lays objects out differently.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        agent_class, before, after = _around_llm_agent(type(self))
        wanted = (_named([agent_class, *after]) | SamplingOptions.__annotations__.keys()) - _named(before)
        self.__dict__[_KEPT] = {name: kwargs.pop(name) for name in wanted & kwargs.keys()}
        unknown = kwargs.keys() - _named(before)
        if unknown and not any(map(_takes_any, before)):
            error = _unexpected(type(self), unknown)
            error.add_note(f"If a base of its own takes it, that base must come before {before[0].__name__}.")
            raise error
        super().__init__(*args, **kwargs)


def install(cls: type[LLMAgent]) -> None:
    """Let a new agent class keep its keywords aside if a base before `LLMAgent` would not hand them on."""
    _, before, _ = _around_llm_agent(cls)
    if KeepsArguments not in cls.__mro__ and not all(_takes_any(base) for base in before):
        cls.__bases__ = (KeepsArguments, *cls.__bases__)


def with_kept_arguments[F: Callable[..., None]](init: F) -> F:
    """Give the constructor of `LLMAgent` what was kept aside.

    A class may also call the constructors of its bases itself, one after the other. Then a base before `LLMAgent` calls
    this one with the model alone, and the class does so again, with everything.
    """

    @functools.wraps(init)
    def initialize(self: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        kept: Mapping[str, Any] | None = vars(self).pop(_KEPT, None)
        if kept is None and isinstance(self, KeepsArguments) and not args and "reasoning" not in kwargs:
            if not is_registered(self):
                hand_on(self, model, kwargs)
            return
        init(self, model, *args, **{**kwargs, **(kept or {})})

    return initialize  # type: ignore[return-value]


def hand_on(agent: Agent, model: Any, keywords: Mapping[str, Any]) -> None:
    """Call the constructor that comes after `LLMAgent`, unless the agent's class has called it already.

    Raises:
        TypeError: if nobody takes one of the keywords, or a base misses an argument.
    """
    cls = type(agent)
    agent_class, _, after = _around_llm_agent(cls)
    unknown = keywords.keys() - _named(after)
    if unknown and (is_registered(agent) or not any(map(_takes_any, after))):
        raise _unexpected(cls, unknown)
    if is_registered(agent):
        return
    try:
        super(agent_class, agent).__init__(model=model, **keywords)  # type: ignore[arg-type]
    except TypeError as error:
        if unknown and str(error).startswith("object.__init__()"):  # all of them have handed it on
            raise _unexpected(cls, unknown) from None
        for base in after:
            if str(error).startswith(f"{base.__qualname__}.__init__() missing"):
                error.add_note(
                    f"LLMAgent's constructor calls that of {base.__name__}. Give its arguments to LLMAgent's as "
                    f"keywords, which are handed on; or call {base.__name__}.__init__ first."
                )
        raise


def is_registered(agent: Agent) -> bool:
    """Whether the constructor of `mesa.Agent` has run for the agent."""
    return "unique_id" in vars(agent)


def _unexpected(cls: type, unknown: Iterable[str]) -> TypeError:
    return TypeError(f"{cls.__name__}() got an unexpected keyword argument {min(unknown)!r}")


def _around_llm_agent(cls: type) -> tuple[type, list[type], list[type]]:
    """`LLMAgent` itself, and the other agent classes with a constructor before and after it in the method order."""
    from mesa_llm.llm_agent.llm_agent import LLMAgent  # noqa: PLC0415 - that module imports this one

    mro = cls.__mro__
    place = mro.index(LLMAgent)
    before = [base for base in mro[:place] if _is_foreign(base, LLMAgent)]
    after = [base for base in mro[place + 1 :] if base not in (Agent, object) and "__init__" in vars(base)]
    return LLMAgent, before, after


def _is_foreign(base: type, agent_class: type) -> bool:
    is_other = issubclass(base, Agent) and not issubclass(base, (agent_class, KeepsArguments))
    return is_other and "__init__" in vars(base)


def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(vars(cls)["__init__"]).parameters


def _takes_any(cls: type) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in _parameters(cls).values())


def _named(classes: Iterable[type]) -> set[str]:
    parameters = [_parameters(cls).items() for cls in classes]
    return {name for items in parameters for name, parameter in items if parameter.kind is not parameter.VAR_KEYWORD}
