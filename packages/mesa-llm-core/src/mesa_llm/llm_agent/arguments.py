"""How the arguments of `LLMAgent` reach it: beside bases with arguments of their own, and for many agents at once.

In `class Flier(LLMAgent, ContinuousSpaceAgent)`, `LLMAgent` passes the keywords on that it does not know. In
`class Guild(MetaAgent, LLMAgent)`, `MetaAgent` passes none on, so those of `LLMAgent` are set aside before that.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesa import Agent

from mesa_llm.module_llm import SamplingOptions

if TYPE_CHECKING:
    from mesa_llm.llm_agent.llm_agent import LLMAgent

_KEPT = "_mesa_llm_kept_arguments"

_WHOLE = frozenset({"tools", "actions", "stop"})
"""The arguments of `LLMAgent` whose value is a list itself: Mesa does not deal it out to the agents."""


class KeepsArguments(Agent):
    """Sets the keywords of `LLMAgent` aside, before a base that comes before `LLMAgent` and would refuse them.

    It is an agent class because Python accepts only a new base with the same object layout.
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
    """Let a new agent class set its keywords aside if a base before `LLMAgent` would not pass them on."""
    _, before, _ = _around_llm_agent(cls)
    if KeepsArguments not in cls.__mro__ and not all(_takes_any(base) for base in before):
        cls.__bases__ = (KeepsArguments, *cls.__bases__)


def with_kept_arguments[F: Callable[..., None]](init: F) -> F:
    """Give the constructor of `LLMAgent` the keywords that were set aside.

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
        TypeError: if no base accepts a keyword, or a base lacks an argument.
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


def dealt(cls: type, n: int, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for `mesa.Agent.create_agents`, which deals every list of length `n` out to the agents.

    A list of tools, actions or stop texts becomes a list of `n` such lists, whatever its length is. An iterator becomes
    a list: otherwise the first agent would consume it.
    """
    names = list(inspect.signature(cls).parameters)[1:]  # after the model
    names += [""] * (len(args) - len(names))
    return (
        [_for_each(name, value, n) for name, value in zip(names, args, strict=False)],
        {name: _for_each(name, value, n) for name, value in kwargs.items()},
    )


def is_whole(name: str, value: Any) -> bool:
    """Whether an argument is one list for each agent, and not a list of such lists, one an agent."""
    if name not in _WHOLE or not isinstance(value, list | tuple):
        return False
    return not value or not all(item is None or isinstance(item, list | tuple) for item in value)


def _for_each(name: str, value: Any, n: int) -> Any:
    if isinstance(value, Iterator):
        return [list(value)] * n
    return [value] * n if is_whole(name, value) else value


def is_fixed(cls: type, name: str) -> bool:
    """Whether a class defines an attribute as a property without a setter."""
    defined = inspect.getattr_static(cls, name, None)
    return isinstance(defined, property) and defined.fset is None


def as_facts(internal_state: Any) -> Any:
    """A text as a list of one fact; lists, dicts and sets as copies, so that agents do not share them by accident."""
    if isinstance(internal_state, str):
        return [internal_state]
    if isinstance(internal_state, Iterator):
        return list(internal_state)
    return _copied(internal_state, {})


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """A copy of lists, dicts and sets, and of those in them; other objects in them stay the same ones.

    A list may contain itself: `copies` holds the copies made so far, by the id of the original.
    """
    if type(value) is tuple:
        return tuple([_copied(item, copies) for item in value])
    if not isinstance(value, list | dict | set):
        return value
    if id(value) not in copies:
        copied: Any = copy.copy(value)
        copies[id(value)] = copied
        items = () if isinstance(value, set) else value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            copied[key] = _copied(item, copies)
    return copies[id(value)]
