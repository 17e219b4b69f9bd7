"""The command `sweep`: many runs of an example, resumed, estimated, and told apart."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from mesa_llm_examples import cli

SMALL = ["sweep", "civil-violence", "--grid", "citizens=4,6", "--grid", "cops=1", "--seeds", "2", "--steps", "2"]


def run(*arguments):
    return CliRunner().invoke(cli.app, [*SMALL, *map(str, arguments)], catch_exceptions=False)


def test_a_study_of_an_example(tmp_path):
    folder = tmp_path / "study"
    shown = run("--folder", folder, "--activation", "simultaneous", "--activation", "sequential")
    runs, steps = (pd.read_csv(folder / f"{name}.csv") for name in ("runs", "steps"))
    assert (len(runs), len(steps)) == (8, 8 * 3)  # collected once before the first step
    assert set(steps.activation) == {"simultaneous", "sequential"}
    assert "8 of 8 runs done" in shown.stderr
    assert f"8 runs, {runs.calls.sum():,} calls." in shown.stdout
    assert list(steps.groupby("citizens").step.max()) == [2, 2]
    again = run("--folder", folder, "--activation", "simultaneous", "--activation", "sequential")
    assert again.stdout == shown.stdout
    assert again.stderr == ""  # nothing was left


def test_an_estimate_with_prices(tmp_path):
    shown = run("--folder", tmp_path / "study", "--llm", "openai/gpt-4o-mini", "--budget", 5, "--estimate")
    assert shown.stdout.startswith("4 runs: ")
    assert "$" in shown.stdout
    assert not (tmp_path / "study" / "journals").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "town"], "There is no example 'town'. There are: civil-violence"),
        ([*SMALL, "--grid", "people=3"], "--grid 'people=3' is not a parameter with values, such as citizens=60,120"),
        ([*SMALL, "--grid", "citizens"], "--grid 'citizens' is not a parameter with values"),
        ([*SMALL, "--grid", "cops=many"], "--grid 'cops=many': 'many' is no int"),
        ([*SMALL, "--budget", "5"], "--budget needs --llm: the example's rule costs nothing"),
    ],
)
def test_a_command_that_cannot_work(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
