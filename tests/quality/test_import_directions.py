"""Imports point one way: examples → parallel → core, and inside core from the agent down to the errors."""

import ast
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[2] / "packages"

# Each package may import those below it in its line.
LAYERS = [
    {"mesa_llm_examples"},
    {"mesa_llm.parallel_stepping"},
    {"mesa_llm.llm_agent"},
    {"mesa_llm.reasoning"},
    {"mesa_llm.memory", "mesa_llm.tools"},
    {"mesa_llm.module_llm", "mesa_llm.testing"},
    {"mesa_llm.limits", "mesa_llm.journal", "mesa_llm.recording", "mesa_llm.telemetry"},
    {"mesa_llm.clients", "mesa_llm.spaces"},
    {"mesa_llm.activation"},
    {"mesa_llm.concurrency"},
    {"mesa_llm.errors"},
]
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("mesa_llm.") else module.split(".", maxsplit=1)[0]


def source_files():
    for file in sorted(PACKAGES.glob("*/src/**/*.py")):
        yield file.relative_to(PACKAGES).parts[2:], file


@pytest.mark.parametrize(("parts", "file"), [pytest.param(p, f, id="/".join(p)) for p, f in source_files()])
def test_imports_point_down(parts, file):
    importer = package_of(".".join(parts).removesuffix(".py"))
    for imported in runtime_imports(ast.parse(file.read_text())):
        target = package_of(imported)
        if target in LEVEL and target != importer:
            assert LEVEL[target] > LEVEL[importer], f"{importer} imports {imported}"


def runtime_imports(tree: ast.AST):
    """Modules imported when the program runs: imports for type checkers alone do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from runtime_imports(node)


def test_every_package_has_a_place():
    packages = {package_of(".".join(parts).removesuffix(".py")) for parts, _ in source_files()}
    assert packages == set(LEVEL)
