"""Every public package and what it exports, read from the sources as the documentation reads them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
SOURCES = sorted(ROOT.glob("packages/*/src"))


def packages() -> dict[str, griffe.Module]:
    """The packages that have an `__all__`, by name."""
    logging.getLogger("griffe").setLevel(logging.ERROR)
    extension = griffe.load_extensions(ROOT / "docs" / "public_names.py")
    loader = griffe.GriffeLoader(search_paths=SOURCES, extensions=extension)
    trees = [loader.load(name) for name in ("mesa_llm", "mesa_llm_examples")]
    loader.resolve_aliases(implicit=False)
    return {package.path: package for tree in trees for package in _packages_in(tree) if package.exports is not None}


def _packages_in(package: griffe.Module) -> Iterator[griffe.Module]:
    yield package
    for module in package.modules.values():
        if not module.is_alias and module.is_init_module:
            yield from _packages_in(module)


def exported(package: griffe.Module) -> list[str]:
    """The names in a package's `__all__`."""
    return [str(name) for name in package.exports or ()]
