# make help lists the targets. Everything is installed into .venv, from requirements/*.txt, where each file has its hash.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Spinning OpenMP threads on busy cores turn one second into twenty; nothing here phones home.
export OMP_NUM_THREADS ?= 2
export POLARS_MAX_THREADS ?= 2
export OMP_WAIT_POLICY ?= passive
export BENTOML_DO_NOT_TRACK ?= True
export MLFLOW_DISABLE_TELEMETRY ?= true
export DO_NOT_TRACK ?= 1
export PYTHON

BIN := .venv/bin
LAB := .venv/.lab
DEV := .venv/.dev
PYTEST := $(BIN)/python -m pytest
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --fork-strategy fewest \
	--no-emit-index-url --annotation-style line --custom-compile-command "make lock" --quiet $(UPGRADE)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(LAB): requirements/lab.txt pyproject.toml scripts/install.sh
	@scripts/install.sh requirements/lab.txt
	@touch $@

$(DEV): requirements/dev.txt pyproject.toml scripts/install.sh
	@scripts/install.sh requirements/dev.txt
	@touch $@ $(LAB)

.PHONY: demo
demo: $(LAB) ## the main job on real data: check, train, track, promote, score, act, serve, ask
	@$(BIN)/python scripts/demo.py

.PHONY: test
test: $(DEV) ## the tests (about 11 minutes on 2 cores)
	@$(PYTEST) -n 2 --dist loadscope

.PHONY: check rest
check: test rest ## all that CI runs: test, lint, types, imports, demo, clean-venv wheel and Bento, notebooks
rest: lint types imports demo proofs

.PHONY: proofs
proofs: $(DEV) ## the slow proofs: wheel and Bento in a clean venv, notebooks, kills, real logs (about 11 minutes)
	@$(PYTEST) -m check -n 2 --dist loadfile

.PHONY: soak
soak: $(DEV) ## the long tests
	@$(PYTEST) -m soak

.PHONY: lint
lint: $(DEV) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(DEV) ## mypy --strict on the package
	@$(BIN)/mypy

.PHONY: imports
imports: $(DEV) ## import-linter: who may import whom
	@$(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: features-page
features-page: $(DEV) ## write docs/features.md again from the catalogue
	@$(BIN)/churn-clv simulate configs/simulator.yaml configs/membership.yaml >/dev/null
	@$(BIN)/churn-clv features configs/simulator.yaml configs/targets.yaml configs/membership.yaml --markdown > docs/features.md

.PHONY: accuracy
accuracy: $(LAB) ## measure on every public log and write docs/accuracy.md (about 15 minutes; each run logs a look)
	@$(BIN)/python scripts/accuracy.py $(ACCURACY)

.PHONY: simulator
simulator: $(LAB) ## how far the recipe goes towards the best possible AUC on three simulated logs (about 5 minutes)
	@$(BIN)/python scripts/simulator.py $(SIMULATOR)

.PHONY: bench-tune
bench-tune: $(LAB) ## time a search of 100 trials on Complete Journey, and what tracking adds (prints, asserts nothing)
	@$(BIN)/python scripts/bench_tune.py $(BENCH_TUNE)

.PHONY: bench-serving
bench-serving: $(LAB) ## time the service against an echo of its stack, write build/bench-serving.json (asserts nothing)
	@$(BIN)/python scripts/bench_serving.py $(BENCH_SERVING)

.PHONY: bench-batch
bench-batch: $(LAB) ## score a million customers with 20 million events: seconds, memory, ratio to bare work (asserts nothing)
	@$(BIN)/python scripts/bench_batch.py --json build/bench-batch.json $(BENCH_BATCH)

.PHONY: lock
lock: $(DEV) ## make the locks again after pyproject.toml changed; UPGRADE=--upgrade takes newer versions
	@$(LOCK) --extra lab --extra sql --extra text --group dev -o requirements/dev.txt
	@$(LOCK) -c requirements/dev.txt --extra lab --group build -o requirements/lab.txt
	@$(LOCK) -c requirements/dev.txt --extra serve -o src/requirements/serve.txt
	@$(LOCK) -c requirements/dev.txt --extra serve --extra text -o src/requirements/serve-text.txt

.PHONY: clean
clean: ## remove .venv and every cache (out/ stays: it holds your runs and bundles)
	@rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
