"""A study: its runs, one after the other and several at once, under one set of limits, in a folder that keeps them."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mesa_llm.clients import LLMClient
from mesa_llm.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    JournalError,
    MissingAPIKeyError,
    UnknownModelError,
)
from mesa_llm.errors.checks import check_whole, check_word
from mesa_llm.experiments.estimate import DryClient, Estimate, estimate_of
from mesa_llm.experiments.limits import Limits
from mesa_llm.experiments.plan import MadeByClass, Make, Parameters, Run, runs_of, with_activation
from mesa_llm.experiments.result import SweepResult
from mesa_llm.experiments.running import Outcome, RunFiles, Session, write_whole
from mesa_llm.module_llm.connect import Transport
from mesa_llm.parallel_stepping import disable_automatic_parallel_stepping, enable_automatic_parallel_stepping
from mesa_llm.parallel_stepping.patch import is_enabled

if TYPE_CHECKING:
    from mesa import Model

    from mesa_llm.parallel_stepping.config import Activation

type OnError = Literal["raise", "continue"]

_EVERY = 1.0  # seconds between lines of progress on a terminal
_EVERY_PIPED = 30.0


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far a study has come.

    Attributes:
        runs: how many runs it has.
        done: how many are finished.
        failed: how many have failed.
        running: how many are being made.
        calls: calls that the finished runs have made.
        tokens: their tokens.
        cost: their price in US dollars, as far as it is known.
        seconds: seconds since this session began.
    """

    runs: int
    done: int
    failed: int
    running: int
    calls: int
    tokens: int
    cost: float
    seconds: float

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{self.done} of {self.runs} runs done, {self.running} running{failed}; {self.calls:,} calls, "
            f"{self.tokens:,} tokens, ${self.cost:,.2f}; {self.seconds:,.0f} s"
        )


class Sweep:
    """Runs of a model with different parameters, seeds, language models and activations.

    All runs share limits, connections and a budget. Each has a journal in the folder: a run that broke off goes on
    inside its step, and asks nothing again. Runs wait for language models most of the time, so several are made at
    once, on threads of this process. What comes out depends on none of this.

    ```python
    from tempfile import mkdtemp

    from mesa import DataCollector, Model
    from mesa_llm.clients import RuleBasedClient
    from mesa_llm.experiments import Sweep
    from mesa_llm.llm_agent import LLMAgent
    from mesa_llm.reasoning import OneCallReasoning


    class Town(Model):
        def __init__(self, people, client, rng=None):
            super().__init__(rng=rng)
            self.parallel_stepping = True
            for _ in range(people):
                LLMAgent(self, OneCallReasoning, client=client, step_prompt="Where do you go?")
            self.datacollector = DataCollector({"people": lambda town: len(town.agents)})

        def step(self):
            self.agents.shuffle_do("step")
            self.datacollector.collect(self)


    at_home = RuleBasedClient(lambda request: "I stay at home.")
    sweep = Sweep(Town, {"people": [2, 4]}, rng=range(3), steps=2, folder=mkdtemp(), client=at_home)
    result = sweep.run(progress=False)
    print(result, len(result.frame()))
    #> <SweepResult: 6 of 6 runs done, 0 failed> 12
    ```

    Args:
        model_class: the class of the model. Its constructor takes the parameters, `client`, and where they are varied
            `rng` (or `seed`) and `llm_model`; otherwise give `make`.
        parameters: a grid, as a dict of values or lists of values; or points: dicts, or the rows of a data frame.
        rng: the seeds.
        steps: how many steps each run makes; a model that stops running makes fewer.
        folder: where the study is kept; a new one, or that of the same study.
        llm_models: the language models, as `provider/model`.
        activations: the activations: `simultaneous`, `eager`, `sequential`.
        limits: what all runs together may send and take.
        client: what answers in place of a language model, such as a `RuleBasedClient`; it gets the limits, too.
        api_base: the base URL of the server; `None` for the provider's own.
        api_key: the key; `None` for the provider's environment variable.
        transport: `direct`, `litellm` or `auto`, as for `connect`.
        make: makes the model of a run, given the `Run` and the client, in place of the class.
        llm_seed: from which a seed for each call is made and sent, so that arms have random numbers in common; `None`
            sends none.
        on_error: what happens when a run fails. `raise` stops the study with its error; `continue` makes the others,
            and leaves it in `SweepResult.failed`. A failed run is tried again when `run` is called again.
        runs_at_once: how many runs are made at once.

    Raises:
        ConfigurationError: if a value cannot work, or the folder has another study.
    """

    def __init__(
        self,
        model_class: type[Model[Any, Any]],
        parameters: Parameters | None = None,
        *,
        steps: int,
        folder: str | os.PathLike[str],
        rng: Iterable[int | None] = (None,),
        llm_models: Iterable[str | None] = (None,),
        activations: Iterable[Activation | None] = (None,),
        limits: Limits | None = None,
        client: LLMClient | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        transport: Transport = "auto",
        make: Make | None = None,
        llm_seed: int | None = None,
        on_error: OnError = "raise",
        runs_at_once: int = 8,
    ) -> None:
        check_whole("steps", steps)
        check_whole("runs_at_once", runs_at_once)
        check_word("on_error", on_error, ("raise", "continue"))
        self.model_class = model_class
        self.steps = steps
        self.folder = Path(folder)
        self.limits = Limits() if limits is None else limits
        self.runs: Sequence[Run] = tuple(
            runs_of({} if parameters is None else parameters, rng, llm_models, activations)
        )
        self._on_error = on_error
        self._at_once = runs_at_once
        self._seed = llm_seed
        self._make = MadeByClass(model_class, self.runs) if make is None else make
        self._rule = client
        self._client = self.limits.client(transport if client is None else client, api_base=api_base, api_key=api_key)
        self._files = RunFiles(self.folder)
        self._check_folder()

    def _check_folder(self) -> None:
        """Refuse the folder of another study."""
        mine: dict[str, Any] = {"model": self.model_class.__qualname__, "steps": self.steps}
        mine |= {"source": _source_of(self.model_class), "llm_seed": self._seed}
        path = self.folder / "sweep.json"
        if path.exists():
            try:
                theirs = dict(json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                raise ConfigurationError(
                    f"{path} is damaged: {error}. Remove it if the folder has this study."
                ) from error
            differ = [
                f"{name} {theirs.get(name)!r}, now {value!r}"
                for name, value in mine.items()
                if theirs.get(name) != value
            ]
            if differ:
                raise ConfigurationError(
                    f"{self.folder} has a study that differs: {'; '.join(differ)}. Give another folder, or remove it."
                )
            return
        write_whole(path, json.dumps(mine, indent=2))

    @property
    def result(self) -> SweepResult:
        """What has come of the runs so far, from the folder."""
        return SweepResult({run: self._files.outcome(run) for run in self.runs})

    def left(self) -> list[Run]:
        """The runs that are still to be made: those that have not ended, and those that have failed."""
        outcomes = {run: self._files.outcome(run) for run in self.runs}
        return [run for run, outcome in outcomes.items() if outcome is None or outcome["status"] != "done"]

    def estimate(self, rule: LLMClient | None = None, *, answer_tokens: int | None = None) -> Estimate:
        """What the runs that are left will take, by dry runs of the first and the last of them.

        Args:
            rule: what answers in the dry runs, such as a `RuleBasedClient`; by default the study's `client`.
            answer_tokens: how many tokens an LLM's answer has; by default as many as the rule's.

        Raises:
            ConfigurationError: if there is no rule.
        """
        answering = rule if rule is not None else self._rule
        if answering is None:
            raise ConfigurationError(
                "estimate() needs a rule that answers in the dry runs: estimate(RuleBasedClient(…))."
            )
        left = self.left()
        corners = [*left[:1], *left[1:][-1:]]
        if not left:
            return Estimate(0, 0, 0, 0, 0.0, 0.0)
        dry = [DryClient(answering, answer_tokens) for _ in corners]
        with _patched():
            for run, client in zip(corners, dry, strict=True):
                model = with_activation(self._make(run, client), run.activation)
                for _ in range(self.steps):
                    if model.running:
                        model.step()
        return estimate_of(dry, len(left), self.limits)

    def run(self, *, progress: bool | Callable[[SweepProgress], object] = True) -> SweepResult:
        """Make the runs that are left. Called again, also in another process, it goes on where it broke off.

        Ctrl-C cancels the calls in flight, and what is recorded stays.

        Args:
            progress: whether lines on standard error say how far the study has come; or a function that is told.

        Returns:
            What has come of all runs.

        Raises:
            BudgetExhaustedError: if the budget is spent. With a larger one, the study goes on.
            Exception: what a run has raised, with a note that names the run, if `on_error` is `raise`.
        """
        session = Session(self._make, self.steps, self._client, self._files, self._seed)
        left = self.left()
        self._count_what_is_spent()
        shown = _Shown(self, len(left), progress)
        with _patched(), ThreadPoolExecutor(self._at_once, thread_name_prefix="mesa-llm-run") as pool:
            futures = {pool.submit(session.run, run): run for run in left}
            try:
                self._keep_as_they_end(futures, shown)
            except BaseException:
                for future in futures:
                    future.cancel()
                session.stop()
                raise
        return self.result

    def _keep_as_they_end(self, futures: dict[Future[tuple[Outcome, Exception | None]], Run], shown: _Shown) -> None:
        unfinished = set(futures)
        while unfinished:
            ended, unfinished = wait(unfinished, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in ended:
                run = futures[future]
                outcome, error = future.result()
                ending = (
                    None if error is None else _that_ends_all(error) or (error if self._on_error == "raise" else None)
                )
                if ending is not None:
                    ending.add_note(f"In the run {run} ({run.key}). run() goes on with those that are left.")
                    raise ending
                self._files.keep(run, outcome)
                shown.ended(outcome)
            shown.show(n_running=min(len(unfinished), self._at_once))

    def _count_what_is_spent(self) -> None:
        budget = self.limits.budget
        if budget is None:
            return
        tokens, cost = 0, 0.0
        for run in self.runs:
            outcome = self._files.outcome(run)
            spent = (
                (outcome["tokens"], outcome["cost"])
                if outcome and outcome["status"] == "done"
                else self._files.spent(run)[1:]
            )
            tokens, cost = tokens + spent[0], cost + spent[1]
        budget.spent_tokens, budget.spent_cost = max(budget.spent_tokens, tokens), max(budget.spent_cost, cost)


class _Shown:
    """Says how far a study has come: to a function, or in lines on standard error."""

    def __init__(self, sweep: Sweep, n_left: int, progress: bool | Callable[[SweepProgress], object]) -> None:
        self._n_runs = len(sweep.runs)
        self._done = self._n_runs - n_left
        self._failed = 0
        self._took = [0, 0, 0.0]
        self._progress = progress
        self._began = time.monotonic()
        self._every = _EVERY if sys.stderr.isatty() else _EVERY_PIPED
        self._last = self._began

    def ended(self, outcome: Outcome) -> None:
        """Count a run that has ended."""
        self._done += outcome["status"] == "done"
        self._failed += outcome["status"] == "failed"
        self._took = [sum(pair) for pair in zip(self._took, (outcome[name] for name in _TOOK), strict=True)]

    def show(self, n_running: int) -> None:
        """Say it, but not too often; the last one in any case."""
        now = time.monotonic()
        calls, tokens, cost = self._took
        state = SweepProgress(
            self._n_runs, self._done, self._failed, n_running, int(calls), int(tokens), cost, now - self._began
        )
        if callable(self._progress):
            self._progress(state)
        elif self._progress and (n_running == 0 or now - self._last >= self._every):
            self._last = now
            print(state, file=sys.stderr, flush=True)  # noqa: T201 - what it is for


_TOOK = ("calls", "tokens", "cost")
_END_ALL = (BudgetExhaustedError, MissingAPIKeyError, UnknownModelError, JournalError)


def _that_ends_all(error: BaseException) -> BaseException | None:
    """The error, or the part of it, with which other runs would fail, too."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_that_ends_all, error.exceptions)), None)
    return error if isinstance(error, _END_ALL) else None


@contextmanager
def _patched() -> Iterator[None]:
    """Mesa's agent sets step in parallel meanwhile, if they do not anyway."""
    if is_enabled():
        yield
        return
    enable_automatic_parallel_stepping()
    try:
        yield
    finally:
        disable_automatic_parallel_stepping()


def _source_of(model_class: type) -> str | None:
    try:
        return hashlib.sha256(inspect.getsource(model_class).encode()).hexdigest()[:12]
    except (OSError, TypeError):  # typed in, or made by code
        return None
