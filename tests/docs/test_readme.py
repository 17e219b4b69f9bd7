"""The README's two commands are the ones that are run elsewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"```bash\n(pip install [^\n]*uv run [^\n]*)\n```", (ROOT / "README.md").read_text())


def test_there_are_exactly_two_commands_for_a_fresh_machine():
    assert len(COMMANDS) == 2
    assert all(command.startswith("pip install --quiet uv && uv run ") for command in COMMANDS)


def test_ci_runs_the_test_command_of_the_readme():
    assert COMMANDS[1].endswith("uv run pytest")
    assert "grep --max-count=1 'uv run pytest' README.md" in (ROOT / ".ci" / "run").read_text()
