"""Refuses to run beside the distribution `mesa-llm`, which has files of the same names."""

import sys
from pathlib import Path


class DistributionConflictError(ImportError):
    """The distribution `mesa-llm` is installed in the same environment, or has been."""


def check() -> None:
    """Refuse to go on if there are files of the distribution `mesa-llm`, or if it has replaced or removed ours.

    Both distributions own `mesa_llm/__init__.py` and other files of the same names. The one that was installed last has
    overwritten those of the other, and uninstalling either removes them.

    Raises:
        DistributionConflictError: if `mesa_llm/__init__.py` is not ours, or a file of theirs is in the same package.
    """
    package = sys.modules["mesa_llm"]
    modules = [Path(folder) / "llm_agent.py" for folder in package.__path__]  # ours is a package
    theirs = [module for module in modules if module.exists()]
    if theirs:
        found = f"{theirs[0]} belongs to the distribution 'mesa-llm'"
    elif package.__file__ is None:
        found = f"{Path(__file__).parents[1]} has no __init__.py: uninstalling the distribution 'mesa-llm' removes it"
    elif not hasattr(package, "_DISTRIBUTION"):
        found = f"{package.__file__} does not belong to 'mesa-llm-core', but probably to the distribution 'mesa-llm'"
    else:
        return
    raise DistributionConflictError(
        f"{found}. 'mesa-llm' and 'mesa-llm-core' both provide the package mesa_llm, so only one of them can be "
        "installed: `pip uninstall mesa-llm`, then `pip install --force-reinstall mesa-llm-core mesa-llm-parallel`."
    )
