"""The public names of every package; a change of them shows here."""

import importlib

import pytest
from inline_snapshot import snapshot

PUBLIC = {
    "mesa_llm.activation": snapshot(),
    "mesa_llm.clients": snapshot(),
    "mesa_llm.errors": snapshot(),
    "mesa_llm.llm_agent": snapshot(),
    "mesa_llm.memory": snapshot(),
    "mesa_llm.module_llm": snapshot(),
    "mesa_llm.parallel_stepping": snapshot(),
    "mesa_llm.reasoning": snapshot(),
    "mesa_llm.spaces": snapshot(),
    "mesa_llm.testing": snapshot(),
    "mesa_llm.tools": snapshot(),
}


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package):
    names = importlib.import_module(package).__all__
    assert names == sorted(names)
    assert names == PUBLIC[package]
    assert all(hasattr(importlib.import_module(package), name) for name in names)
