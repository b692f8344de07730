# `make help` lists the targets. Only `demo` and `test` install anything.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo simulate test check bench compile ape constraints format clean setup-demo setup-test

# The first interpreter that the pinned packages support; PYTHON=... names another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := $(CURDIR)/.venv/bin

# py-solc-x and ape look for the compiler here; ape looks for anvil on the PATH.
export SOLCX_BINARY_PATH ?= $(CURDIR)/.cache/solc
WITH_TOOLS := PATH="$(BIN):$$PATH"

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: setup-demo ## Trade for a day on a chain of its own; ARGS="--help" shows the options
	@$(WITH_TOOLS) $(BIN)/python -m scripts.demo $(ARGS)

SCENARIO ?= data/scenarios/rural1-congested.toml
simulate: setup-demo ## Compare the rules on a day without a chain: SCENARIO=file ARGS="--seed 2"
	@$(BIN)/python -m scripts.simulate $(SCENARIO) --rule all $(ARGS)

test: setup-test ## Lint, check types and artifacts, run all tests; ARGS="-k name" selects
	@$(MAKE) --no-print-directory check
ifeq ($(ARGS),)
	@$(WITH_TOOLS) $(BIN)/pytest -n 2 -m "not faults and not alone"
	@# These race the clock, so nothing else should need the machine.
	@$(WITH_TOOLS) $(BIN)/pytest -m "faults or alone"
else
	@$(WITH_TOOLS) $(BIN)/pytest -n 2 $(ARGS)
endif

check: ## Lint, check types and artifacts; needs `make test` once
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.compile --check

bench: setup-test ## Measure gas and throughput, write docs/benchmarks.md
	@$(WITH_TOOLS) $(BIN)/python -m scripts.bench $(ARGS)

compile: setup-test ## Compile contracts/ into market/artifacts/
	@$(BIN)/python -m scripts.compile --sizes

ape: setup-test ## Run ape: ARGS="run deploy --network ethereum:local:foundry"
	@$(WITH_TOOLS) $(BIN)/ape $(ARGS)

format: setup-test ## Format the Python code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

constraints: setup-test ## Note the versions of all installed packages in constraints.txt
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --exclude-editable; } > .cache/constraints
	@mv .cache/constraints constraints.txt

clean: ## Remove everything that make has installed or built
	rm -rf .venv .cache .build build node_modules *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

setup-demo setup-test:
	@$(if $(PYTHON),,echo "Subgrid needs Python 3.11 or 3.12 and finds neither on the PATH. Install one, or name it: make PYTHON=/path/to/python3.12 demo" >&2; exit 1)
	@$(PYTHON) -m scripts.setup $(@:setup-%=%)
