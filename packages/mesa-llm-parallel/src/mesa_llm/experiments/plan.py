"""Which runs a study has: every combination of parameters, seeds, language models and activations."""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

from mesa_llm.activation.values import plain, to_json
from mesa_llm.errors import ConfigurationError
from mesa_llm.parallel_stepping import ParallelStepping
from mesa_llm.parallel_stepping.config import Activation

if TYPE_CHECKING:
    import pandas as pd
    from mesa import Model

    from mesa_llm.clients import LLMClient

type Parameters = Mapping[str, Any] | Iterable[Mapping[str, Any]] | pd.DataFrame
"""A grid, `{"people": [5, 10], "mood": "calm"}`; or points: dicts, or the rows of a data frame."""

_SEEDS = ("rng", "seed")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a study.

    Attributes:
        parameters: the arguments of the model that are varied or fixed.
        rng: its seed; `None` takes the default of the model, and if it has none, a seed made of the run itself.
        llm_model: the language model, as `provider/model`; `None` leaves it to the model class.
        activation: how agents step; `None` leaves it to the model class.
    """

    parameters: Mapping[str, Any]
    rng: int | None = None
    llm_model: str | None = None
    activation: Activation | None = None

    def labels(self) -> dict[str, Any]:
        """What distinguishes it from others, as columns of a data frame."""
        arms = {"rng": self.rng, "llm_model": self.llm_model, "activation": self.activation}
        given = {name: value for name, value in arms.items() if value is not None}
        labels: dict[str, Any] = plain({**self.parameters, **given})
        return labels

    @property
    def key(self) -> str:
        """Names its files: 12 hexadecimal digits, the same for the same run of any study."""
        identity = [plain(dict(sorted(self.parameters.items()))), self.rng, self.llm_model, self.activation]
        return hashlib.sha256(to_json(identity).encode()).hexdigest()[:12]

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.labels().items()) or "the only run"


def runs_of(
    parameters: Parameters,
    rng: Iterable[int | None],
    llm_models: Iterable[str | None],
    activations: Iterable[Activation | None],
) -> list[Run]:
    """All runs: points, then seeds, then language models, then activations; the last vary fastest.

    Raises:
        ConfigurationError: if there are no runs, a run comes twice, or an activation is unknown.
    """
    activations = _several(activations)
    known = get_args(Activation.__value__)
    if unknown := [name for name in activations if name is not None and name not in known]:
        raise ConfigurationError(f"activations must be among {', '.join(map(repr, known))}, got {unknown}.")
    arms = itertools.product(_points(parameters), plain(_several(rng)), _several(llm_models), activations)
    runs = [Run(*arm) for arm in arms]
    if not runs:
        raise ConfigurationError(
            "The study has no runs: each of parameters, rng, llm_models and activations needs one."
        )
    seen: dict[str, Run] = {}
    for run in runs:
        if run.key in seen:
            raise ConfigurationError(f"The study has the same run twice: {run}.")
        seen[run.key] = run
    return runs


def _several(values: Any) -> list[Any]:
    """The values of an arm, which may be one alone."""
    is_one = isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable)
    return [values] if is_one else list(values)


def _points(parameters: Parameters) -> Iterator[Mapping[str, Any]]:
    if isinstance(parameters, Mapping):
        names = list(parameters)
        values = [_several(value) for value in parameters.values()]
        if empty := [name for name, several in zip(names, values, strict=True) if not several]:
            raise ConfigurationError(f"Parameters without a value: {', '.join(empty)}.")
        for point in itertools.product(*values):
            yield dict(zip(names, point, strict=True))
        return
    if hasattr(parameters, "to_dict"):
        parameters = parameters.to_dict("records")
    for number, row in enumerate(parameters):
        if not isinstance(row, Mapping):
            raise ConfigurationError(f"Point {number} must be a dict of parameters, got {row!r}.")
        yield {str(name): value for name, value in row.items()}


type Make = Callable[[Run, LLMClient], Model[Any, Any]]
"""Makes the model of a run, whose agents ask the client."""


class MadeByClass:
    """Makes models by calling their class: with the parameters, the seed, and what else its constructor takes.

    Args:
        model_class: the class.
        runs: the runs for which it will be called.

    Raises:
        ConfigurationError: if the constructor does not take a parameter, the seed, the client or the language model.
    """

    def __init__(self, model_class: type[Model[Any, Any]], runs: Sequence[Run]) -> None:
        self.model_class = model_class
        taken = inspect.signature(model_class).parameters
        self._takes_all = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        self._taken = set(taken)
        self._seed = next((name for name in _SEEDS if name in taken), "rng")
        self._is_unseeded = self._seed in taken and taken[self._seed].default in (None, inspect.Parameter.empty)
        wanted = {name for run in runs for name in run.parameters} | {"client"}
        wanted |= {self._seed for run in runs if run.rng is not None}
        wanted |= {"llm_model" for run in runs if run.llm_model is not None}
        if not self._takes_all and (missing := sorted(wanted - self._taken)):
            raise ConfigurationError(
                f"{model_class.__name__}(…) does not take {', '.join(missing)}. Let it, or give the study "
                "make=function, which is called with the run and the client and returns a model."
            )

    def arguments(self, run: Run, client: LLMClient) -> dict[str, Any]:
        """The arguments of the constructor for a run."""
        arguments = {**run.parameters, "client": client}
        if run.rng is not None:
            arguments[self._seed] = run.rng
        elif self._is_unseeded:  # a random one would differ when a run that broke off goes on
            arguments[self._seed] = int(run.key[:8], 16)
        if run.llm_model is not None:
            arguments["llm_model"] = run.llm_model
        return arguments

    def __call__(self, run: Run, client: LLMClient) -> Model[Any, Any]:
        """Make the model of a run."""
        return self.model_class(**self.arguments(run, client))


def with_activation(model: Model[Any, Any], activation: Activation | None) -> Model[Any, Any]:
    """The model, with this activation and its other settings of parallel stepping."""
    if activation is not None:
        settings = getattr(model, "parallel_stepping", None)
        usual = settings if isinstance(settings, ParallelStepping) else ParallelStepping()
        model.parallel_stepping = replace(usual, activation=activation)
    return model
