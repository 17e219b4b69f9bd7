"""Runs that were recorded by `record_run`: made again, compared, described and exported.

Its modules:

    replaying    a run made again without a network, its state compared after each step
    difference   where two runs part: step, agent, attribute, and the call
    description  what a methods section says about a run, as data, text, and in the form of ODD
    export       a run as JSON Lines, tables or a trace
    runs_in      the runs in files and folders, and what one has to say
    cli          the command `mesa-llm`; doctor says what is installed
"""

import mesa_llm.errors  # noqa: F401 - first: refuses a foreign mesa_llm
from mesa_llm.runs.description import RunDescription, describe
from mesa_llm.runs.difference import RunDifference, diff
from mesa_llm.runs.export import FORMATS, export_run
from mesa_llm.runs.replaying import Replayed, replay

__all__ = ["FORMATS", "Replayed", "RunDescription", "RunDifference", "describe", "diff", "export_run", "replay"]
