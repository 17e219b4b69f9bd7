.DEFAULT_GOAL := help

.PHONY: help test slow ci quick lint docs serve figures bench build hooks

help: ## list what can be done
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

test: ## all tests but the slow ones
	uv run pytest

slow: ## what takes longer: browsers, thousands of steps, types, lint, the documentation's site, wheels
	uv run pytest -m "slow or checks"

ci: ## all that must hold before a change lands
	.ci/run

quick: ## the tests of what changes most, in half a minute
	uv run pytest -q tests/core/test_reasoning.py tests/core/test_llm_agent.py tests/core/tools tests/parallel/test_decide_then_act.py tests/quality

lint: ## format and check the code, its types and its imports
	uv run ruff check --fix .
	uv run ruff format .
	uv run mypy
	uv run python -m tests.helpers.lint_imports

docs: ## build the documentation, strictly
	uv run mkdocs build --strict

serve: ## show the documentation at http://127.0.0.1:8000
	uv run mkdocs serve

figures: ## draw the documentation's pictures from new, real runs
	uv run python docs/figures/step.py
	uv run python docs/figures/speedup.py
	uv run python docs/figures/bars.py
	uv run python docs/figures/tutorial.py
	uv run python docs/figures/examples.py
	uv run python docs/figures/report.py

bench: ## the benchmarks
	uv run python -m benchmarks

build: ## the distributions, checked
	rm -rf dist
	uv build --all-packages
	uv run twine check --strict dist/*

hooks: ## check before each commit
	uvx pre-commit install
