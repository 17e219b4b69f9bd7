"""Tells when another distribution has taken the namespace `mesa_llm`."""

import sys


class DistributionConflictError(ImportError):
    """The distribution `mesa-llm` is installed in the same environment."""


def check() -> None:
    """Refuse to go on if `mesa_llm` is not a namespace package.

    Here no distribution owns `mesa_llm/__init__.py`. The distribution `mesa-llm` does, and it has files of the same
    names as ours: whichever was installed last has overwritten the other's.

    Raises:
        DistributionConflictError: if `mesa_llm` is a regular package.
    """
    owner = getattr(sys.modules["mesa_llm"], "__file__", None)
    if owner is not None:
        raise DistributionConflictError(
            f"{owner} belongs to the distribution 'mesa-llm', which cannot be installed beside 'mesa-llm-core': both "
            "provide the package mesa_llm. Keep one of them: `pip uninstall mesa-llm`, then "
            "`pip install --force-reinstall mesa-llm-core mesa-llm-parallel`."
        )
