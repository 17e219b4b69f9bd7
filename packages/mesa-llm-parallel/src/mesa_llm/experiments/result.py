"""What came of a study: data frames, and arms compared with each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mesa_llm.activation.values import to_json
from mesa_llm.errors import ConfigurationError
from mesa_llm.experiments.plan import Run

if TYPE_CHECKING:
    import pandas as pd

    from mesa_llm.experiments.running import Outcome

type Level = Literal["runs", "steps", "agents"]

_OF_A_RUN = ("status", "made_steps", "calls", "tokens", "cost", "seconds", "state_hash")
_MOST_EXACT = 14  # pairs, whose 2^14 signs are all tried
_DRAWS = 10_000


class SweepResult:
    """What came of the runs that have ended.

    Args:
        outcomes: what is known of each run, in their order; `None` for one that has not ended.
    """

    def __init__(self, outcomes: Mapping[Run, Outcome | None]) -> None:
        self._ended = {run: outcome for run, outcome in outcomes.items() if outcome is not None}
        self._n_runs = len(outcomes)

    def __repr__(self) -> str:
        return f"<SweepResult: {len(self.done)} of {self._n_runs} runs done, {len(self.failed)} failed>"

    @property
    def done(self) -> tuple[Run, ...]:
        """The runs that are finished."""
        return tuple(run for run, outcome in self._ended.items() if outcome["status"] == "done")

    @property
    def failed(self) -> dict[Run, str]:
        """The runs that have failed, and why, in a line."""
        return {run: outcome["cause"] for run, outcome in self._ended.items() if outcome["status"] == "failed"}

    def frame(self, level: Level = "steps") -> pd.DataFrame:
        """The results as a tidy data frame, in which each row begins with the parameters and arms of its run.

        Args:
            level: `runs` has a row for each run that has ended: `status`, `made_steps`, `calls`, `tokens`, `cost` in US
                dollars, `seconds` of the session that ended it, and `state_hash`. `steps` and `agents` have the rows of
                the data collectors of finished runs, with the columns `step` and `agent`. A column with the name of a
                parameter gets `_collected` behind its name.

        Raises:
            ConfigurationError: if there is no such level.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import

        if level not in get_args(Level.__value__):
            raise ConfigurationError(f"level must be 'runs', 'steps' or 'agents', got {level!r}.")
        rows: list[dict[str, Any]] = []
        for run, outcome in self._ended.items():
            labels = {"run": run.key, **run.labels()}
            if level == "runs":
                rows.append(_row(labels, {name: outcome.get(name) for name in (*_OF_A_RUN, "cause")}))
            else:
                rows += [_row(labels, row) for row in outcome.get(level, ())]
        return pd.DataFrame(rows)

    def paired(self, arm: str, outcome: str) -> pd.DataFrame:
        """The differences that an arm makes to an outcome, in pairs of runs that are otherwise alike.

        Args:
            arm: what is varied: a parameter, `llm_model` or `activation`. Its first value is what others are compared
                with.
            outcome: a column of the data collectors, as it is after the last step of a run.

        Returns:
            For each other value of the arm: `pairs`, `mean_difference`, `low` and `high` (95 % bootstrap percentile
            interval), and `p_value`: of a permutation test that flips the signs of differences, two-sided, exact up to
            14 pairs (Fisher 1935, *The Design of Experiments*, section 21).

        Raises:
            ConfigurationError: if arm or outcome is no column, or no two runs differ in the arm alone.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import

        steps = self.frame("steps")
        for role, name in {"arm": arm, "outcome": outcome}.items():
            if name not in steps:
                raise ConfigurationError(f"There is no {role} {name!r}. There are: {', '.join(map(repr, steps))}.")
        last = steps.groupby("run", sort=False).tail(1).copy()
        labels = {name for run in self._ended for name in run.labels()}
        for name in labels:
            last[name] = last[name].map(lambda value: to_json(value) if isinstance(value, list | dict) else value)
        others = [name for name in last if name in labels and name != arm]
        by_arm = dict(iter(last.groupby(arm, sort=False, dropna=False)))
        (first, baseline), *rest = by_arm.items()
        if not rest:
            raise ConfigurationError(f"All runs have {arm} = {first!r}: there is nothing to compare.")
        random = np.random.default_rng(0)
        found = []
        for value, rows in rest:
            joined = _joined(baseline, rows, others, outcome)
            if not len(joined):
                raise ConfigurationError(f"No two finished runs differ in {arm} alone: {first!r} and {value!r}.")
            low, high = _interval(joined, random)
            found.append(
                {
                    arm: value,
                    "compared_with": first,
                    "pairs": len(joined),
                    "mean_difference": float(joined.mean()),
                    "low": low,
                    "high": high,
                    "p_value": _p_value(joined, random),
                }
            )
        return pd.DataFrame(found)


def _row(labels: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    return {**labels, **{f"{name}_collected" if name in labels else name: item for name, item in columns.items()}}


def _joined(baseline: pd.DataFrame, rows: pd.DataFrame, others: Sequence[str], outcome: str) -> Any:
    """The differences between two arms, in pairs of runs that are alike in all others."""
    if not others:
        return rows[outcome].to_numpy(float)[:1] - baseline[outcome].to_numpy(float)[:1]
    pairs = baseline.merge(rows, on=list(others), suffixes=("_first", "_second"))
    return pairs[f"{outcome}_second"].to_numpy(float) - pairs[f"{outcome}_first"].to_numpy(float)


def _interval(differences: Any, random: np.random.Generator) -> tuple[float, float]:
    means = random.choice(differences, (_DRAWS, len(differences))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _p_value(differences: Any, random: np.random.Generator) -> float:
    n, found = len(differences), abs(differences.sum())
    margin = 1e-9 * max(1.0, found)  # sums of the same numbers in another order
    if n <= _MOST_EXACT:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
        return float((np.abs(signs @ differences) >= found - margin).mean())
    signs = random.choice((1, -1), (_DRAWS, n))
    return float((1 + (np.abs(signs @ differences) >= found - margin).sum()) / (1 + _DRAWS))
