"""Mesa's agent sets step in parallel where their model asks for it. The only file that touches Mesa's classes."""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mesa.agent import AgentSet

from mesa_llm.activation.context import current_answers, turn_in, within
from mesa_llm.activation.mesa_model import restorer, stepping_on
from mesa_llm.activation.once import warn_not_parallel
from mesa_llm.errors import ConfigurationError, NotParallelWarning, TurnError
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping.activations import make_step
from mesa_llm.parallel_stepping.config import Activation, Mode, OnError, OnReport, ParallelStepping, PlainSteps
from mesa_llm.parallel_stepping.runners import has_decision
from mesa_llm.recording.identity import settings_of

if TYPE_CHECKING:
    from mesa import Agent, Model

type _Stepping = Callable[..., Any]

_config = ParallelStepping()
_originals: dict[tuple[type, str], _Stepping] = {}


def enable_automatic_parallel_stepping(
    mode: Mode = "asyncio",
    *,
    activation: Activation = "simultaneous",
    on_error: OnError = "raise",
    max_failures: float | None = None,
    decide_timeout: float | None = None,
    max_workers: int | None = None,
    plain_steps: PlainSteps = "together",
    methods: Collection[str] = ("step",),
    step_members: bool = True,
    max_waste: float | None = 0.5,
    on_report: OnReport | None = None,
) -> None:
    """Let the agents of every model that sets `parallel_stepping = True` step in parallel.

    From then on `shuffle_do("step")` and `do("step")` of all agent sets do so: `model.agents`, `agents_by_type[...]`,
    what `select()` returns, sets of your own. The order of the agents and the random numbers drawn stay Mesa's own.
    Models that do not set the flag, and methods that are not in `methods`, run as in plain Mesa. Enabling again only
    changes the settings. A model that sets `parallel_stepping = ParallelStepping(…)` has its own settings.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    enable_automatic_parallel_stepping()
    llm = ScriptedLLM("Action: rest.", hold_until=3)  # answers when three are asking at once
    village = Model()
    village.parallel_stepping = True
    for _ in range(3):
        LLMAgent(village, CoTReasoning, client=llm, step_prompt="What do you do?")
    village.agents.shuffle_do("step")
    print(llm.peak_in_flight)
    #> 3
    ```

    Args:
        mode: `asyncio` or `threading`. All settings are described at `ParallelStepping`.
        activation: `simultaneous`, `eager` or `sequential`.
        on_error: `raise`, `skip`, or a function of the agent and its error.
        max_failures: how many agents may fail to decide, as number or share, before the step raises nevertheless.
        decide_timeout: seconds that an agent may take to decide.
        max_workers: how many threads may run at the same time.
        plain_steps: in threading mode, whether agents without a decision step `together` or `ordered`.
        methods: the methods that run in parallel when an agent set does them.
        step_members: whether members of a `MetaAgent` step beside it, or are left to its `step`.
        max_waste: with `sequential`, how many calls may be wasted for each that is needed.
        on_report: called with the `StepReport` of every parallel step.

    Raises:
        ConfigurationError: if a value is not allowed.
    """
    global _config  # noqa: PLW0603 - one setting for the process, as the patch is
    _config = ParallelStepping(
        mode=mode,
        activation=activation,
        on_error=on_error,
        max_failures=max_failures,
        decide_timeout=decide_timeout,
        max_workers=max_workers,
        plain_steps=plain_steps,
        methods=methods,
        step_members=step_members,
        max_waste=max_waste,
        on_report=on_report,
    )
    for cls, name in _methods_that_step():
        original = vars(cls)[name]
        _originals[cls, name] = original
        setattr(cls, name, _in_parallel(original, shuffles=name == "shuffle_do"))


def disable_automatic_parallel_stepping() -> None:
    """Restore the methods of Mesa's agent sets, and forget the settings."""
    global _config  # noqa: PLW0603
    _config = ParallelStepping()
    for (cls, name), original in _originals.items():
        setattr(cls, name, original)
    _originals.clear()


def is_enabled() -> bool:
    """Whether Mesa's agent sets are patched."""
    return bool(_originals)


@contextmanager
def stepping_by(config: ParallelStepping | None) -> Iterator[None]:
    """Have Mesa's agent sets patched in a `with` block, with these settings or those that hold, and then as before."""
    global _config  # noqa: PLW0603
    was_enabled, before = is_enabled(), _config
    if not was_enabled:
        enable_automatic_parallel_stepping()
    if config is not None:
        _config = config
    try:
        yield
    finally:
        if not was_enabled:
            disable_automatic_parallel_stepping()
        _config = before


def activation_of(model: Any) -> dict[str, Any]:
    """How a model's agents are activated, with all settings, for the identity of a run."""
    flag = getattr(model, "parallel_stepping", False)
    if not (is_enabled() and flag):
        return {"activation": "mesa"}
    config = flag if isinstance(flag, ParallelStepping) else _config
    settings = {part.name: getattr(config, part.name) for part in fields(config)}
    return {"activation": settings.pop("activation"), **settings}


settings_of.append(activation_of)


def _methods_that_step() -> Iterator[tuple[type, str]]:
    """Every `do` and `shuffle_do` that Mesa's agent set classes define, but for those patched already.

    Mesa 3.4 has `AgentSet` alone. From 3.5 on `Model.agents` is of a sibling class with methods of its own.
    """
    root = [cls for cls in AgentSet.__mro__ if cls.__module__.split(".")[0] == "mesa"][-1]
    classes = [root]
    for cls in classes:
        classes.extend(cls.__subclasses__())
    for cls in dict.fromkeys(classes):
        for name in ("do", "shuffle_do"):
            if (
                cls.__module__.split(".")[0] == "mesa"
                and name in vars(cls)
                and not inspect.isabstract(cls)
                and (cls, name) not in _originals
            ):
                yield cls, name


def _in_parallel(original: _Stepping, *, shuffles: bool) -> _Stepping:
    @functools.wraps(original)
    def step_in_parallel(self: Any, method: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        agents: list[Agent] = list(self)
        name = _in_config(agents, method)
        if current_answers() is not None:  # within a sequential step, or on a copy that looks ahead
            name = None
        with stepping_on(agents):
            config = None if name is None else _wanted(agents, name)
        if config is None:
            asked: set[int] = set()
            asking = [agent.model for agent in agents if _flag(agent) or isinstance(agent, LLMAgent)]
            first = agents[0].model if agents and _flag(agents[0]) else None
            agents.clear()  # Mesa holds them weakly, and does not step one that nobody else holds any more
            with stepping_on(models=asking), within(asked=asked):
                done = original(self, method, *args, **kwargs)
            if len(asked) > 1 and name is None and current_answers() is None and first is not None:
                _warn_of_calls(first, method, len(asked))
            return done
        restore = restorer(agents, self.random)
        if shuffles:
            self.random.shuffle(agents)  # the same draw as Mesa's own: it depends on nothing but the number of agents
        step = make_step(
            agents,
            config,
            method=name,
            args=args,
            kwargs=kwargs,
            restore=restore,
            agent_set=self,
            step_all=lambda turn: original(self, turn, *args, **kwargs),
        )
        agents.clear()  # as above
        step.run_here()
        return self

    return step_in_parallel


def _flag(agent: Agent) -> Any:
    return getattr(agent.model, "parallel_stepping", False)


def _in_config(agents: list[Agent], method: str | Callable[..., Any]) -> str | None:
    """The name of the method, if the settings name it: given as such, or as the method itself."""
    if not agents:
        return None
    flag = _flag(agents[0])
    for name in (flag if isinstance(flag, ParallelStepping) else _config).methods:
        if method == name or (callable(method) and all(method is getattr(type(agent), name, None) for agent in agents)):
            return name
    return None


_warned_of_calls: weakref.WeakKeyDictionary[type, set[str]] = weakref.WeakKeyDictionary()


def _warn_of_calls(model: Model, method: str | Callable[..., Any], n_agents: int) -> None:
    """Warn, once a class of models and method, that agents ask their models one after the other."""
    name = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
    warned = _warned_of_calls.setdefault(type(model), set())
    if name in warned:
        return
    warned.add(name)
    flag = getattr(model, "parallel_stepping", False)
    methods = (flag if isinstance(flag, ParallelStepping) else _config).methods
    way_out = (
        f"Set parallel_stepping = ParallelStepping(methods={(*methods, name)!r})"
        if isinstance(method, str)
        else "Give the agents a method, do it by its name, and name it in ParallelStepping(methods=…)"
    )
    warnings.warn(
        f"{type(model).__name__} sets parallel_stepping, but {n_agents} agents have asked their models one after the "
        f"other in {name!r}: only {', '.join(methods)} runs in parallel. {way_out}, or parallel_stepping = False.",
        NotParallelWarning,
        stacklevel=3,
    )


def _wanted(agents: list[Agent], method: str) -> ParallelStepping | None:
    """How the agents are to step in parallel; `None` if they are not."""
    flags = _flags(agents)
    if not any(flags):
        return None
    if any(flag != flags[0] for flag in flags):
        warn_not_parallel(
            {type(agent.model) for agent in agents},
            f"The agents of one set belong to {len(flags)} models whose parallel_stepping differs ({flags!r}), so they "
            "step one after the other. Give all of them the same settings, or step them in sets of their own.",
            stacklevel=3,
        )
        return None
    refuse_before_the_turn(agents)
    config = flags[0] if isinstance(flags[0], ParallelStepping) else _config
    if method == "step" and config.activation != "sequential":  # which asks ahead whatever asks
        _warn_if_nobody_has_decision(agents, config)
    return config


def _flags(agents: list[Agent]) -> list[ParallelStepping | bool | None]:
    """What the agents' models say about parallel stepping, one a model."""
    flags = list({id(agent.model): getattr(agent.model, "parallel_stepping", False) for agent in agents}.values())
    for flag in flags:
        if not isinstance(flag, ParallelStepping) and flag not in (True, False, None):
            raise ConfigurationError(f"parallel_stepping must be True, False or a ParallelStepping(…), got {flag!r}.")
    return flags


def config_of(agents: list[Agent]) -> ParallelStepping:
    """The settings of agents that are stepped by hand: those of their model, or those for all models.

    Raises:
        ConfigurationError: if they are of models whose settings differ.
    """
    own = {flag for flag in _flags(agents) if isinstance(flag, ParallelStepping)}
    if len(own) > 1:
        raise ConfigurationError(
            f"These agents belong to models whose parallel_stepping differs ({sorted(map(repr, own))}): step them in "
            "lists of their own."
        )
    return own.pop() if own else _config


def _warn_if_nobody_has_decision(agents: list[Agent], config: ParallelStepping) -> None:
    """Say that nothing waits together if that holds for the whole model, and not only for these agents."""
    in_threads = config.mode == "threading"
    if (in_threads and config.plain_steps == "together") or any(
        has_decision(agent, in_threads=in_threads) for agent in agents
    ):
        return
    models = {id(agent.model): agent.model for agent in agents}.values()
    if any(has_decision(agent, in_threads=in_threads) for model in models for agent in model.agents):
        return
    classes = ", ".join(sorted({type(agent).__name__ for agent in agents}))
    warn_not_parallel(
        {type(model) for model in models},
        f"parallel_stepping is set, but no agent has a decision ({classes}), so they step one after the other: they "
        "are no LLMAgent, and have neither a reasoning nor an astep. Use mode='threading' for steps that compute.",
        stacklevel=4,
    )


def refuse_before_the_turn(agents: list[Agent]) -> None:
    """Refuse to step agents of the caller's own model while it decides: they would act before all have decided.

    Raises:
        TurnError: if the calling agent is deciding.
    """
    for agent in agents:
        turn = turn_in(agent.model)
        if turn is not None and not turn.acting:
            raise TurnError(
                f"{type(turn.agent).__name__} {turn.agent.unique_id} steps other agents before its turn, while the "
                "others still decide: wait with `await my_turn()` or `wait_my_turn()` first."
            )
