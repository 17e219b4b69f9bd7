"""Hooks around `step` and `astep`, and a stand-in for the one of the two that a class does not define."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from mesa_llm.activation import mark_installed, nearer_method
from mesa_llm.concurrency import calling_loop, worker_thread
from mesa_llm.llm_agent.parallel_check import warn_if_not_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mesa_llm.llm_agent.llm_agent import LLMAgent

_HOOKED = "__mesa_llm_hooked__"


def install(cls: type[LLMAgent]) -> None:
    """Give a new agent class its hooks and stand-ins. Called once, when the class is made."""
    meant = nearer_method(cls, "step", "astep", prefer_async=True)
    meant_in_threads = nearer_method(cls, "step", "astep", prefer_async=False)
    if meant == meant_in_threads == "astep":
        cls.step = mark_installed(_step_by_astep)  # type: ignore[method-assign]
    elif meant == meant_in_threads == "step":
        cls.astep = mark_installed(_astep_by_step)  # type: ignore[method-assign]
    if not hasattr(cls.step, _HOOKED):
        cls.step = _same_origin(cls, "step", _hooked(cls.step))  # type: ignore[method-assign]
    if not hasattr(cls.astep, _HOOKED):
        cls.astep = _same_origin(cls, "astep", _ahooked(cls.astep))  # type: ignore[method-assign]


def _same_origin[F](cls: type, name: str, function: F) -> F:
    """Mark a wrapped method that the class has inherited, so that it does not count as defined there."""
    setattr(function, _HOOKED, True)
    return function if name in vars(cls) else mark_installed(function)


def _step_by_astep(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
    return calling_loop.run(self.astep(*args, **kwargs))


async def _astep_by_step(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.wrap_future(worker_thread.start(functools.partial(self.step, *args, **kwargs)))


setattr(_step_by_astep, _HOOKED, True)
setattr(_astep_by_step, _HOOKED, True)


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def hooked(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        if self._stepping:  # called by super().step(): the outer one has the hooks
            return step(self, *args, **kwargs)
        warn_if_not_parallel(self)
        self._stepping = True
        try:
            _run_hook(self, "pre_step", "apre_step")
            result = step(self, *args, **kwargs)
            _run_hook(self, "post_step", "apost_step")
            return result
        finally:
            self._stepping = False

    return hooked


def _ahooked(astep: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(astep)
    async def hooked(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        if self._stepping:
            return await astep(self, *args, **kwargs)
        warn_if_not_parallel(self)
        self._stepping = True
        try:
            await _arun_hook(self, "pre_step", "apre_step")
            result = await astep(self, *args, **kwargs)
            await _arun_hook(self, "post_step", "apost_step")
            return result
        finally:
            self._stepping = False

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
