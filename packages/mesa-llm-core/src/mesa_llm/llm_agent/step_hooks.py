"""What surrounds `step` and `astep`: hooks, a warning if the model is not stepped in parallel, memory maintenance."""

from __future__ import annotations

import functools
import inspect
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mesa_llm.activation.call import begin_agent_step
from mesa_llm.activation.context import (
    Running,
    current_agent_step,
    current_answers,
    current_turn,
    enter,
    is_stepping,
    leave,
    turn_in,
)
from mesa_llm.activation.mesa_model import step_on_after_failure
from mesa_llm.activation.method_pairs import is_placeholder, mark_installed, nearer_method
from mesa_llm.activation.once import log_error_once, warn_not_parallel
from mesa_llm.activation.turn import in_thread
from mesa_llm.concurrency import calling_loop
from mesa_llm.errors import ConfigurationError, ends_run
from mesa_llm.errors.tracebacks import shorten
from mesa_llm.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from mesa_llm.llm_agent.llm_agent import LLMAgent

_logger = logging.getLogger(__name__)
_HOOKED = "__mesa_llm_hooked__"


def install(cls: type[LLMAgent]) -> None:
    """Give a new agent class its hooks, and the one of `step` and `astep` that it does not define.

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
        if is_placeholder(method):  # MetaAgent's, of a base that comes before LLMAgent
            method = next(vars(base)[name] for base in cls.__mro__ if hasattr(vars(base).get(name), _HOOKED))
            setattr(cls, name, mark_installed(method))
        if not hasattr(method, _HOOKED):
            wrapped = hooked(method)
            setattr(wrapped, _HOOKED, True)
            # An inherited method that is wrapped here does not count as defined here.
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
    """Marks an agent's step. Entering returns whether it is the outermost one, which runs the hooks."""

    __slots__ = ("_agent", "_is_alone", "_token")

    def __init__(self, agent: LLMAgent) -> None:
        self._agent = agent
        self._is_alone = False

    def __enter__(self) -> bool:
        agent = self._agent
        outermost = not is_stepping(agent)
        changes: Running = {"stepping": agent}
        if outermost:
            _warn_if_not_parallel(agent)
            agent_step = current_agent_step()
            if agent_step is None or agent_step.agent is not agent:  # no runner steps it
                self._is_alone = True
                changes["agent_step"] = begin_agent_step(agent, alone=True)
        self._token = enter(**changes)
        return outermost

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        leave(self._token)
        if self._is_alone and error is not None:
            shorten(error)
            step_on_after_failure(self._agent.model)


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def hooked(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        with _Stepping(self) as outermost:
            if outermost:
                _run_hook(self, "pre_step", "apre_step")
            try:
                result = step(self, *args, **kwargs)
            except BaseException as error:
                if outermost and _may_write(self):
                    with _noted_on(error):
                        _run_hook(self, "post_step", "apost_step")
                raise
            if outermost:
                _run_hook(self, "post_step", "apost_step")
                if _consolidates_alone(self):
                    calling_loop.run(_consolidate(self))
            return result

    return hooked


def _ahooked(astep: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(astep)
    async def hooked(self: LLMAgent, *args: Any, **kwargs: Any) -> Any:
        with _Stepping(self) as outermost:
            if outermost:
                await _arun_hook(self, "pre_step", "apre_step")
            try:
                result = await astep(self, *args, **kwargs)
            except BaseException as error:
                if outermost and _may_write(self):
                    with _noted_on(error):
                        await _arun_hook(self, "post_step", "apost_step")
                raise
            if outermost:
                await _arun_hook(self, "post_step", "apost_step")
                if _consolidates_alone(self):
                    await _consolidate(self)
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


def _may_write(agent: LLMAgent) -> bool:
    """Whether the hook after a failed step runs: not before the agent's turn, when nothing of it is kept yet."""
    turn = turn_in(agent.model)
    return turn is None or turn.acting


@contextmanager
def _noted_on(error: BaseException) -> Iterator[None]:
    """Keep the error of a step when its hook fails too; a note on it says so."""
    try:
        yield
    except Exception as failure:
        error.add_note(f"The hook after the step failed too: {type(failure).__name__}: {failure}")


def may_consolidate(agent: LLMAgent) -> bool:
    """Whether the agent's memory is of a kind that needs a model after a step."""
    return getattr(type(agent.memory), "asettle", Memory.asettle) is not Memory.asettle


def _consolidates_alone(agent: LLMAgent) -> bool:
    """Whether the agent consolidates its own memory; in a parallel step, the runner does it for all agents at once."""
    return may_consolidate(agent) and turn_in(agent.model) is None


async def _consolidate(agent: LLMAgent) -> None:
    try:
        commit = await agent.memory.asettle()
        if commit is not None:
            commit()
    except Exception as error:
        if ends_run(error):
            raise
        text = f"{agent} could not settle, and will try again after its next step."
        log_error_once(_logger, logging.ERROR, text, error, model=agent.model)


def _warn_if_not_parallel(agent: LLMAgent) -> None:
    if current_turn() is not None or current_answers() is not None:
        return
    if not getattr(agent.model, "parallel_stepping", False):
        return
    model_class = type(agent.model)
    warn_not_parallel(
        [model_class],
        f"{model_class.__name__} sets parallel_stepping, but {type(agent).__name__} {agent.unique_id} steps by itself. "
        "Call mesa_llm.parallel_stepping.enable_automatic_parallel_stepping() and step the agents with "
        "self.agents.shuffle_do('step'), or set parallel_stepping = False.",
        stacklevel=4,
    )
