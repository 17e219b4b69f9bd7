"""`mesa_llm` is put together from two distributions: in any order, one without the other, and beside `mesa-llm`."""

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv")

pytestmark = [pytest.mark.checks, pytest.mark.skipif(UV is None, reason="uv is not on the path")]


def uv(*command):
    result = subprocess.run([UV, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Each wheel by the name of its distribution; `mesa-llm` is a small one with file names of the real one."""
    folder = tmp_path_factory.mktemp("wheels")
    uv("build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(folder))
    theirs = {
        "mesa_llm/__init__.py": "import mesa_llm.tools.inbuilt_tools\nfrom .reasoning.reasoning import Plan\n",
        "mesa_llm/llm_agent.py": "",
        "mesa_llm/parallel_stepping.py": "def enable_automatic_parallel_stepping(): ...\n",
        "mesa_llm/reasoning/reasoning.py": "class Plan: ...\n",
        "mesa_llm/tools/inbuilt_tools.py": "",
        "mesa_llm-0.3.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: mesa-llm\nVersion: 0.3.2\n",
        "mesa_llm-0.3.2.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "mesa_llm-0.3.2.dist-info/RECORD"
    with zipfile.ZipFile(folder / "mesa_llm-0.3.2-py3-none-any.whl", "w") as archive:
        for name, text in theirs.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in (*theirs, record)))
    return {wheel.name.split("-")[0].replace("_", "-"): str(wheel) for wheel in folder.glob("*.whl")}


@pytest.fixture
def environment(wheels, tmp_path):
    return Environment(wheels, tmp_path / "environment")


class Environment:
    """A folder that packages are installed into, and a Python that finds them there; what they need, it borrows."""

    def __init__(self, wheels, folder):
        self.wheels, self.folder = wheels, folder

    def after(self, *steps):
        """Install a distribution by its name, or uninstall it by its name with a minus."""
        target = ("--quiet", "--python", sys.executable, "--target", str(self.folder))
        for step in steps:
            if step.startswith("-"):
                uv("pip", "uninstall", *target, step.removeprefix("-"))
            else:
                uv("pip", "install", "--reinstall", "--no-deps", *target, self.wheels[step])
        return self

    def run(self, code, *, path=None):
        """Run code without `site`, so that the workspace's own packages are not on the path."""
        path = [str(self.folder), sysconfig.get_path("purelib")] if path is None else path
        return subprocess.run(
            [sys.executable, "-S", "-W", "error", "-c", code],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            check=False,
        )

    def prints(self, code, **where):
        result = self.run(code, **where)
        assert result.returncode == 0, result.stderr
        return result.stdout.split()

    def error(self, code, **where):
        result = self.run(code, **where)
        assert result.returncode == 1
        return result.stderr.strip().splitlines()[-1]


CORE, PARALLEL, EXAMPLES, THEIRS = "mesa-llm-core", "mesa-llm-parallel", "mesa-llm-examples", "mesa-llm"
SHOW = "import mesa_llm; print(*mesa_llm.__all__)"
FROM_PARALLEL = {"enable_automatic_parallel_stepping", "step_agents_parallel", "step_agents_parallel_sync"}
MISSING = "enable_automatic_parallel_stepping is part of mesa-llm-parallel, which is not installed: pip install mesa-llm-parallel"


@pytest.mark.parametrize(
    "steps",
    [
        *itertools.permutations([CORE, PARALLEL, EXAMPLES]),
        (CORE, PARALLEL, "-" + CORE, CORE),
        (PARALLEL, CORE, "-" + PARALLEL, PARALLEL),
        (CORE, PARALLEL, EXAMPLES, "-" + EXAMPLES),
    ],
    ids=" ".join,
)
def test_the_root_is_whole_in_any_order(environment, steps):
    assert set(environment.after(*steps).prints(SHOW)) > FROM_PARALLEL


def test_installed_everything_can_be_imported_from_the_root(environment):
    code = "from mesa_llm import *; from mesa_llm import __version__; import mesa_llm; print(mesa_llm.__version__, mesa_llm.__file__)"
    version, file = environment.after(CORE, PARALLEL).prints(code)
    assert f"-{version}-" in environment.wheels[CORE]
    assert file == str(environment.folder / "mesa_llm" / "__init__.py")


@pytest.mark.parametrize("steps", [(CORE,), (CORE, PARALLEL, "-" + PARALLEL)], ids=" ".join)
@pytest.mark.parametrize("left_behind", [False, True])
def test_without_parallel_its_names_say_what_to_install(environment, steps, left_behind):
    environment.after(*steps)
    if left_behind:
        (environment.folder / "mesa_llm" / "parallel_stepping" / "__pycache__").mkdir(parents=True, exist_ok=True)
    assert not FROM_PARALLEL & set(environment.prints(SHOW))
    imported = environment.error("from mesa_llm import enable_automatic_parallel_stepping")
    assert imported == f"ImportError: {MISSING}"
    assert environment.error("import mesa_llm; mesa_llm.enable_automatic_parallel_stepping") == imported


def test_without_parallel_the_rest_can_be_imported(environment):
    code = "from mesa_llm import *; import inspect, mesa_llm; print(LLMAgent.__name__, len(inspect.getmembers(mesa_llm)) > 6)"
    assert environment.after(CORE).prints(code) == ["LLMAgent", "True"]


@pytest.mark.parametrize("order", [(CORE, PARALLEL), (PARALLEL, CORE)], ids=" ".join)
def test_in_two_folders_it_is_one_package(environment, order, wheels, tmp_path):
    """As with one of them in the user's site-packages, or in a folder of its own on PYTHONPATH."""
    folders = {name: Environment(wheels, tmp_path / name).after(name).folder for name in order}
    path = [*(folders[name] for name in order), sysconfig.get_path("purelib")]
    assert set(environment.after(EXAMPLES).prints(SHOW, path=path)) > FROM_PARALLEL


@pytest.mark.parametrize("installed", [CORE, PARALLEL])
def test_one_installed_and_one_from_the_workspace(environment, installed):
    """An editable installation puts its sources on the path, behind what is installed."""
    (other,) = {CORE, PARALLEL} - {installed}
    path = [environment.folder, ROOT / "packages" / other / "src", sysconfig.get_path("purelib")]
    assert set(environment.after(installed).prints(SHOW, path=path)) > FROM_PARALLEL


IMPORTS = [
    "from mesa_llm.llm_agent import LLMAgent",
    "from mesa_llm.reasoning.cot import CoTReasoning",
    "from mesa_llm.tools.tool_manager import ToolManager",
    "import mesa_llm.parallel_stepping",
]
FROM_THE_ROOT = ["import mesa_llm", "from mesa_llm import LLMAgent, Plan"]
CONFLICT = "mesa_llm.errors.DistributionConflictError: "


@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        ((THEIRS, CORE, PARALLEL), IMPORTS + FROM_THE_ROOT),
        ((CORE, PARALLEL, THEIRS), IMPORTS + FROM_THE_ROOT),
        ((CORE, THEIRS, PARALLEL), IMPORTS + FROM_THE_ROOT),
        ((THEIRS, CORE), [*FROM_THE_ROOT, "from mesa_llm.parallel_stepping import step_agents_parallel"]),
        # Nothing of ours runs for the root itself, whose __init__.py is gone: Python names the missing name.
        ((THEIRS, CORE, PARALLEL, "-" + THEIRS), IMPORTS),
        ((CORE, PARALLEL, THEIRS, "-" + THEIRS), IMPORTS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mesa_llm_beside_it_is_named_with_the_way_out(environment, steps, lines):
    environment.after(*steps)
    for line in lines:
        error = environment.error(line)
        assert error.startswith(CONFLICT), line
        assert "`pip uninstall mesa-llm`" in error
    remedy = ["-" + THEIRS] if "-" + THEIRS not in steps else []
    assert set(environment.after(*remedy, CORE, PARALLEL).prints(SHOW)) > FROM_PARALLEL


def test_mesa_llm_in_a_folder_further_down_the_path_is_named_too(environment, wheels, tmp_path):
    """Its modules would be found where core alone is installed, as if they were parallel's."""
    theirs = Environment(wheels, tmp_path / "theirs").after(THEIRS).folder
    path = [environment.after(CORE).folder, theirs]
    assert environment.error("from mesa_llm import Plan", path=path).startswith(f"{CONFLICT}{theirs}")
