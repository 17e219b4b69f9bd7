import pytest

from mesa_llm.parallel_stepping import enable_automatic_parallel_stepping


@pytest.fixture(params=["asyncio", "threading"])
def mode(request):
    enable_automatic_parallel_stepping(mode=request.param)
    return request.param


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.db"
