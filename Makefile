# Every target sets up .venv by itself; the only thing needed beforehand is Python 3.11, 3.12 or 3.13.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { command -v $$p; break; }; done)
BIN := .venv/bin
ARGS ?=
SEEDS ?= 0
JOBS ?= 2
# What `make tables RUN=1` runs; ARGS=dry_run=true lists the jobs instead
EXPERIMENTS ?= table3 compare quantization_claim table7 figure5 tan_table2 tan_table12 tan_table13 tan_table14 tan_table15 tan_regularizers
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help run test lint types suite test-slow bench tables standins wheel-check clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "razor-cli needs Python 3.11, 3.12 or 3.13; none is on the PATH (or give PYTHON=...)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch .venv/.ready

run: .venv/.ready ## set up and run the main job: forget "Taylor Swift" in the embedded model (ARGS="..." adds settings)
	$(BIN)/razor-run $(ARGS)

test: lint types suite ## set up, then lint, types and the test suite

lint: .venv/.ready ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.ready ## mypy
	$(BIN)/mypy

suite: .venv/.ready ## the test suite: offline, no GPU, two processes
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadgroup -m "not slow and not gpu" $(ARGS)

test-slow: .venv/.ready ## full-size models, real photographs (RAZOR_CIFAR10=DIR), other slow checks
	$(TEST_ENV) $(BIN)/pytest -n 1 -m "slow" --timeout 1200 $(ARGS)

bench: .venv/.ready ## speed ratios, cost of every method in gradient passes, the forgetting table (CIFAR=DIR adds CIFAR-10 classes)
	$(BIN)/python scripts/bench.py $(ARGS)
	$(BIN)/python scripts/bench_uce.py

tables: .venv/.ready ## the papers' tables and figures from recorded runs (RUN=1 runs what is missing; SEEDS=0,1,2 TARGETS=1 JOBS=2 CIFAR=DIR)
ifdef RUN
	@failed=; for e in $(EXPERIMENTS); do \
		$(BIN)/razor-run experiment=$$e seed=$(SEEDS) jobs=$(JOBS) $(if $(TARGETS),targets=$(TARGETS)) $(if $(CIFAR),data.cifar_root=$(CIFAR)) $(ARGS) || failed="$$failed $$e"; \
	done; $(BIN)/razor tables all; test -z "$$failed" || { echo "not complete:$$failed"; exit 1; }
else
	$(BIN)/razor tables all $(ARGS)
endif

standins: .venv/.ready ## train the embedded models again: make standins CIFAR=DIR (an hour each on two cores; MODEL=clip, sd or llava for one)
	@test -n "$(CIFAR)" || test -n "$(filter sd llava,$(MODEL))" || { echo "give CIFAR=DIR, a folder with CIFAR-10"; exit 2; }
	$(if $(filter clip,$(or $(MODEL),clip)),$(BIN)/python scripts/train_standins.py clip --cifar $(CIFAR) $(ARGS))
	$(if $(filter sd,$(or $(MODEL),sd)),$(BIN)/python scripts/train_standins.py sd $(ARGS))
	$(if $(filter llava,$(or $(MODEL),llava)),$(BIN)/python scripts/train_standins.py llava $(ARGS))

wheel-check: .venv/.ready ## build the wheel and run it from another folder in a fresh environment
	$(BIN)/python scripts/check_wheel.py

clean: ## remove outputs, caches and .venv
	rm -rf outputs dist build .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
