"""What the tests of the command line share."""

import os

import pytest

from mesa_llm_examples.cli import main


@pytest.fixture
def here(capsys, monkeypatch):
    """Run the command in this process, without keys: gives exit status, standard output and standard error."""
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(list(map(str, arguments)))
        return exit_.value.code, *capsys.readouterr()

    return run
