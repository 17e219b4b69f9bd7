"""How agents step in parallel."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping.report import StepReport

type Mode = Literal["asyncio", "threading"]
type Activation = Literal["simultaneous", "eager", "sequential"]
type PlainSteps = Literal["together", "ordered"]
type OnError = Literal["raise", "skip"] | Callable[[Any, Exception], object]
type OnReport = Callable[[StepReport], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelStepping:
    """How agents step in parallel.

    `methods` and `step_members` say which steps run in parallel, `activation` what agents see in them. With the default
    activation, and as long as nothing fails, no other setting changes what a run computes, except `plain_steps` if
    plain agents look at each other.

    ```python
    from mesa import Model
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.parallel_stepping import ParallelStepping, enable_automatic_parallel_stepping
    from mesa_llm.reasoning import CoTReasoning
    from mesa_llm.testing import ScriptedLLM

    enable_automatic_parallel_stepping()
    village = Model()
    village.parallel_stepping = ParallelStepping(mode="threading", on_error="skip", max_failures=0.1)
    llm = ScriptedLLM("Action: rest.")
    for _ in range(3):
        LLMAgent(village, CoTReasoning, client=llm, step_prompt="What do you do?")
    village.agents.shuffle_do("step")
    print(village.parallel_reports[-1].mode)
    #> threading
    ```

    Attributes:
        mode: `asyncio` runs the agents' `astep` as tasks of one event loop; `threading` runs their `step` on threads.
        activation: `simultaneous` lets all agents decide on the same world, and then act one by one in seeded order.
            `eager` lets each agent act as soon as it has decided, still one at a time: what later agents see, and so
            the run, depends on how fast the model answers. `sequential` is plain Mesa's own loop, with
            its results: each agent sees what those before it did. Throw-away copies find out what to ask ahead.
        on_error: what to do about agents that could not decide. `raise`: nobody acts, and `ParallelStepError` names
            them. `skip`: they do nothing in this step, and the others go on; errors that would come again, such as a
            missing key, are still raised. A function `(agent, error) -> None` replaces the agent's act; it may ask a
            model, but not plan. A spent budget and a `JournalError` are raised in any case.
        max_failures: how many agents of a step may be skipped or fall back; more raise. A whole number counts agents,
            a fraction below 1.0 is a share of those that step; `None` for no limit.
        decide_timeout: seconds that an agent may take to decide, counted from its start; after that its decision has
            failed. Time in queues of limits, and that of others, does not count. `None` for no limit.
        max_workers: how many threads may run at the same time, at least 1; `None` for no limit. A thread that waits
            for a model or for its turn does not count.
        plain_steps: when agents that have nothing to decide step in threading mode. `together`: on threads, all at
            once, after the decisions and before the acts; the run is reproducible if each touches only itself.
            `ordered`: in their places among the acts, as always in asyncio mode and under `eager`.
        methods: the methods that run in parallel when an agent set does them: `("observe", "decide", "act")` for staged
            activation. Each of them is a parallel step of its own; of a method and its async twin (`decide`, `adecide`)
            the nearer one runs, as of `step` and `astep`. Hooks and memory consolidation belong to `step` alone.
        step_members: whether members of a `MetaAgent` step when they are in one agent set with it. `False` leaves them
            to their group, whose `step` steps them.
        max_waste: with `sequential`, how many calls asked ahead may be wasted for each call that an agent needs, and
            the first 8 beyond that. 0 asks ahead only for agents that see nobody undecided; `None` for all.
        on_report: called with the `StepReport` of every parallel step, also of one that fails.

    Raises:
        ConfigurationError: if a value is not one of these.
    """

    mode: Mode = "asyncio"
    activation: Activation = "simultaneous"
    on_error: OnError = "raise"
    max_failures: float | None = None
    decide_timeout: float | None = None
    max_workers: int | None = None
    plain_steps: PlainSteps = "together"
    methods: Collection[str] = ("step",)
    step_members: bool = True
    max_waste: float | None = 0.5
    on_report: OnReport | None = None

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, get_args(Mode.__value__))
        _one_of("activation", self.activation, get_args(Activation.__value__))
        _one_of("plain_steps", self.plain_steps, get_args(PlainSteps.__value__))
        methods: Any = self.methods
        if (
            isinstance(methods, str)
            or not (isinstance(methods, Collection) and methods)
            or not all(isinstance(name, str) and name.isidentifier() for name in methods)
        ):
            raise ConfigurationError(f"methods must be a tuple of names such as ('step',), got {methods!r}.")
        object.__setattr__(self, "methods", tuple(methods))  # so that the settings can be compared
        if not isinstance(self.step_members, bool):
            raise ConfigurationError(f"step_members must be True or False, got {self.step_members!r}.")
        if not callable(self.on_error):
            _one_of("on_error", self.on_error, ("raise", "skip"), " or a function of the agent and its error")
        if inspect.iscoroutinefunction(self.on_error):
            raise ConfigurationError(
                f"on_error must be a plain function, got the coroutine function {self.on_error!r}: it acts instead of "
                "the agent, and nobody awaits it. A model may be asked in it by `agent.llm.generate(…)`."
            )
        if self.max_workers is not None and not (_is_whole(self.max_workers) and self.max_workers >= 1):
            raise ConfigurationError(
                f"max_workers must be an integer >= 1, got {self.max_workers!r}. Use None for no limit."
            )
        if self.on_report is not None and not callable(self.on_report):
            raise ConfigurationError(f"on_report must be a function of a StepReport or None, got {self.on_report!r}.")
        if self.max_waste is not None and not (
            isinstance(self.max_waste, int | float)
            and not isinstance(self.max_waste, bool)
            and 0 <= self.max_waste < math.inf
        ):
            raise ConfigurationError(
                f"max_waste must be a number of calls >= 0 for each call needed, got {self.max_waste!r}. Use None for "
                "no limit."
            )
        if self.activation == "sequential":
            self._check_sequential()
        failures = self.max_failures
        if failures is not None and not (
            (_is_whole(failures) and failures >= 0) or (isinstance(failures, float) and 0 < failures < 1)
        ):
            raise ConfigurationError(
                f"max_failures must be an integer >= 0 or a share between 0.0 and 1.0, got {failures!r}. "
                "Use None for no limit."
            )
        timeout = self.decide_timeout
        if timeout is not None and not (
            isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout < math.inf
        ):
            raise ConfigurationError(f"decide_timeout must be seconds > 0, got {timeout!r}. Use None for no limit.")

    def _check_sequential(self) -> None:
        """Refuse what has no meaning where Mesa's own loop steps the agents."""
        for name, value, default, reason in (
            ("mode", self.mode, "asyncio", "Mesa's own loop steps the agents, in the calling thread"),
            ("decide_timeout", self.decide_timeout, None, "which answers come in time would change the run"),
            ("max_workers", self.max_workers, None, "agents step in the calling thread"),
            ("plain_steps", self.plain_steps, "together", "every agent steps in its place"),
        ):
            if value != default:
                raise ConfigurationError(
                    f"{name}={value!r} cannot be combined with activation='sequential': {reason}. Leave {name} out, or "
                    "use another activation."
                )

    @property
    def runs_plain_steps_together(self) -> bool:
        """Whether agents that have nothing to decide step on threads, all at once."""
        return self.mode == "threading" and self.activation == "simultaneous" and self.plain_steps == "together"

    def allows(self, n_failures: int, n_agents: int) -> bool:
        """Whether a step of `n_agents` goes on although `n_failures` of them could not decide.

        Args:
            n_failures: how many could not decide.
            n_agents: how many take part.
        """
        if self.on_error == "raise":
            return n_failures == 0
        if self.max_failures is None:
            return True
        if isinstance(self.max_failures, float):
            return n_failures / n_agents <= self.max_failures
        return n_failures <= self.max_failures


def _one_of(name: str, value: object, allowed: tuple[str, ...], more: str = "") -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} must be one of {', '.join(map(repr, allowed))}{more}, got {value!r}.")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
