"""What packages export is there, and not more than one can learn."""

import importlib

import pytest
from helpers.public_names import packages

MOST = 158
"""The most public names in all packages together. It goes up only by what a guide teaches."""


@pytest.mark.parametrize("package", packages())
def test_the_names_that_a_package_exports_are_there(package):
    module = importlib.import_module(package)
    assert all(hasattr(module, name) for name in module.__all__)


def test_there_are_not_too_many():
    assert len({name for package in packages() for name in importlib.import_module(package).__all__}) <= MOST
