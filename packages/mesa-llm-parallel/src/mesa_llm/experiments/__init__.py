"""Studies: many runs of a model, with different parameters, seeds, language models and activations.

    Sweep               the runs of a study, with one set of limits and a folder that keeps what has been run
    Limits              what all runs together may send and take
    SweepResult         what came out, as data frames
    Estimate            what the runs will take, before anything is asked

A run that is finished is not run again, and one that broke off goes on inside its step: no recorded call is asked
twice.
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.experiments.estimate import Estimate
from mesa_llm.experiments.limits import Limits
from mesa_llm.experiments.plan import Run
from mesa_llm.experiments.result import SweepResult
from mesa_llm.experiments.sweep import Sweep, SweepProgress

__all__ = ["Estimate", "Limits", "Run", "Sweep", "SweepProgress", "SweepResult"]
