"""Hooks around `step` and `astep`, and a stand-in for the one of the two that a class does not define."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.call import begin_agent_step
from mesa_llm.activation.context import current_agent_step, is_stepping, within
from mesa_llm.activation.decisions import in_thread
from mesa_llm.activation.method_pairs import mark_installed, nearer_method
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.llm_agent.parallel_check import warn_if_not_parallel
from mesa_llm.llm_agent.settling import asettle_alone, settle_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mesa_llm.llm_agent.llm_agent import LLMAgent

_HOOKED = "__mesa_llm_hooked__"


def install(cls: type[LLMAgent]) -> None:
    """Give a new agent class its hooks and stand-ins. Called once, when the class is made.

    Raises:
        ConfigurationError: if `step` is a coroutine function.
    """
    if inspect.iscoroutinefunction(cls.step):
        raise ConfigurationError(
            f"{cls.__name__}.step is a coroutine function, which Mesa never awaits: name it astep."
        )
    meant = nearer_method(cls, "step", "astep", prefer_async=True)
    meant_in_threads = nearer_method(cls, "step", "astep", prefer_async=False)
    for name, hooked in (("step", _hooked), ("astep", _ahooked)):
        method = getattr(cls, name)
        if not hasattr(method, _HOOKED):
            wrapped = hooked(method)
            setattr(wrapped, _HOOKED, True)
            # What the class has inherited and gets wrapped here does not count as defined here.
            setattr(cls, name, wrapped if name in vars(cls) else mark_installed(wrapped))
    if meant == meant_in_threads == "astep":
        cls.step = mark_installed(_step_by(cls.astep))  # type: ignore[method-assign]
    elif meant == meant_in_threads == "step":
        cls.astep = mark_installed(_astep_by(cls.step))  # type: ignore[method-assign]


def _step_by(astep: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    def step(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        return calling_loop.run(astep(self, *args, **kwargs))

    setattr(step, _HOOKED, True)
    return step


def _astep_by(step: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def astep(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        return await in_thread(functools.partial(step, self, *args, **kwargs))

    setattr(astep, _HOOKED, True)
    return astep


class _Stepping:
    """Marks an agent's step; entering gives whether it is the outermost one, which has the hooks."""

    __slots__ = ("_agent", "_is_alone", "_within")

    def __init__(self, agent: LLMAgent) -> None:
        self._agent = agent
        self._is_alone = False

    def __enter__(self) -> bool:
        agent = self._agent
        outermost = not is_stepping(agent)
        changes: dict[str, Any] = {"stepping": agent}
        if outermost:
            warn_if_not_parallel(agent)
            agent_step = current_agent_step()
            if agent_step is None or agent_step.agent is not agent:  # no runner steps it
                self._is_alone = True
                changes["agent_step"] = begin_agent_step(agent)
        self._within = within(**changes)
        self._within.__enter__()
        return outermost

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        self._within.__exit__()
        if self._is_alone and error is not None:
            shorten(error)


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def hooked(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        with _Stepping(self) as outermost:
            if outermost:
                _run_hook(self, "pre_step", "apre_step")
            result = step(self, *args, **kwargs)
            if outermost:
                _run_hook(self, "post_step", "apost_step")
                settle_alone(self)
            return result

    return hooked


def _ahooked(astep: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(astep)
    async def hooked(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        with _Stepping(self) as outermost:
            if outermost:
                await _arun_hook(self, "pre_step", "apre_step")
            result = await astep(self, *args, **kwargs)
            if outermost:
                await _arun_hook(self, "post_step", "apost_step")
                await asettle_alone(self)
            return result

    return hooked


def _run_hook(agent: LLMAgent, name: str, async_name: str) -> None:
    if nearer_method(type(agent), name, async_name, prefer_async=False) == async_name:
        calling_loop.run(getattr(agent, async_name)())
    else:
        getattr(agent, name)()


async def _arun_hook(agent: LLMAgent, name: str, async_name: str) -> None:
    if nearer_method(type(agent), name, async_name, prefer_async=True) == name:
        getattr(agent, name)()
    else:
        await getattr(agent, async_name)()
