# Everything a person needs to run and change angelx. Works with GNU make 3.81 (macOS) and later.
# Each thing that takes time leaves a stamp in .venv, so a second run starts at once and needs no network.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
LOCKED := $(PIP) install --require-hashes --only-binary :all: --requirement
SOURCES := $(shell find angelx -name '*.py')
BENCHES := bus tick-to-order replay journal chain wire
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help paper test test-live chaos explore setup fmt lint type arch check bench docs lock clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

LIVE := tests/e2e/test_live.py
# ---------------------------------------------------------------------------------------------------------- the product
paper: $(VENV)/.warm ## trade a simulated NSE session from nothing; ARGS="--seed 7 ..." are its options
	$(BIN)/angelx paper $(ARGS)

test: $(VENV)/.dev $(VENV)/.warm ## run the tests from nothing; ARGS="-k bus ..." are pytest's options
	$(BIN)/pytest -n 2 -q --ignore $(LIVE) $(ARGS)

explore: $(VENV)/.dev $(VENV)/.warm ## the property tests on examples that nobody has seen yet
	$(BIN)/pytest -n 2 -q --ignore tests/e2e --hypothesis-profile=explore $(ARGS)

test-live: $(VENV)/.dev $(VENV)/.warm ## trade at a venue through kills and faults, in real time: minutes
	$(BIN)/pytest -n 2 -q $(LIVE) $(ARGS)

chaos: $(VENV)/.dev $(VENV)/.warm ## the same with trouble drawn from SEEDS="1 2 ...", four minutes each, at SPEED
	ANGELX_CHAOS="$(or $(SEEDS),1)" ANGELX_CHAOS_SPEED="$(or $(SPEED),0)" $(BIN)/pytest -q tests/e2e/test_chaos.py $(ARGS)

bench: $(VENV)/.dev $(VENV)/.warm ## run the benchmarks, then parts alone; BENCHES="bus ..." picks some
	set -e; for name in $(BENCHES); do $(BIN)/angelx bench $$name $(ARGS); done
	$(BIN)/pytest -q --benchmark-enable --benchmark-only --benchmark-sort=name \
		--benchmark-columns=median,iqr,ops,rounds tests/bench

# ----------------------------------------------------------------------------------------------------------- the habits
setup: $(VENV)/.dev $(VENV)/.warm ## everything a developer needs, in .venv

fmt: $(VENV)/.dev ## format, and mend what can be mended
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

type: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

arch: $(VENV)/.dev ## imports point down only
	$(BIN)/lint-imports --no-logo

check: lint type arch test ## all four: do this before you commit

docs: $(VENV)/.warm ## draw the wiring again, from the services' own declarations
	$(BIN)/angelx graph --output docs/graph.md
	$(BIN)/angelx graph --output docs/graph.svg

UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --group build pyproject.toml

lock: ## resolve pyproject.toml anew, keeping what still fits; needs uv; ARGS=--upgrade takes the newest
	$(UV_COMPILE) $(ARGS) --output-file requirements.lock
	$(UV_COMPILE) $(ARGS) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove .venv and every cache; state in var/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find angelx tests -name __pycache__ -prune -exec rm -rf {} +

# ----------------------------------------------------------------------------------------------------------- the stamps
$(VENV)/.pip: tools/venv.sh
	tools/venv.sh $(VENV)
	@touch $@

$(VENV)/.core: requirements.lock $(VENV)/.pip
	$(LOCKED) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.core
	$(LOCKED) requirements-dev.lock
	@touch $@

# The build backend is in the lock, so this needs no network.
$(VENV)/.angelx: pyproject.toml $(VENV)/.core
	$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# Compiling the kernels takes seconds; the daemon starts within two only when they are in numba's cache.
$(VENV)/.warm: $(SOURCES) $(VENV)/.angelx
	$(BIN)/python -m angelx warm
	@touch $@
