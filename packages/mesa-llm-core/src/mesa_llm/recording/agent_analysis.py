"""Recordings shown in the terminal, from Python or from a shell.

python -m mesa_llm.recording.agent_analysis run.jsonl --agent 3 --view timeline
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mesa_llm.errors import RecordingError
from mesa_llm.errors.shown_text import for_people
from mesa_llm.recording.agent_viewer import AgentViewer, quick_agent_view

__all__ = ["AgentViewer", "main", "quick_agent_view"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Show a recording from the command line.

    Args:
        arguments: those of the command line by default.

    Returns:
        0, or 1 if the recording cannot be shown.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mesa_llm.recording.agent_analysis", description="Show the recording of a simulation."
    )
    parser.add_argument("recording", type=Path, help="a .jsonl file, or a .json file as saved")
    parser.add_argument("--agent", type=int, help="the unique id of an agent; without it, the simulation is shown")
    parser.add_argument(
        "--view", default="summary", choices=["summary", "timeline", "conversations", "decisions"], help="of the agent"
    )
    parser.add_argument("--interactive", action="store_true", help="ask what to show")
    options = parser.parse_args(arguments)
    try:
        if options.interactive:
            AgentViewer(options.recording).interactive_mode()
        else:
            quick_agent_view(options.recording, options.agent, options.view)
    except (OSError, RecordingError) as error:
        print(for_people(str(error)), file=sys.stderr)  # noqa: T201 - a command's way to say so
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
