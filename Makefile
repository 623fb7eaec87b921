# Every target sets up .venv by itself; the only thing needed beforehand is Python 3.11, 3.12 or 3.13.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	$$p -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { command -v $$p; break; }; done)
BIN := .venv/bin
ARGS ?=
SEEDS ?= 0
JOBS ?= 2
# On models that draw: what shares runs, then what measures costs, one job at a time
ALONE := table5 slug_unlearncanvas
ON_DRAWN := table4 slug_sd figure3 $(ALONE)
# What `make tables RUN=1` runs; ARGS=dry_run=true lists the jobs instead
EXPERIMENTS ?= table3 compare quantization_claim table7 figure5 tan_table2 tan_table12 tan_table13 tan_table14 tan_table15 tan_regularizers table8 slug_llava $(ON_DRAWN)
# Those of them that have no photographs, and no use for CIFAR=DIR
DRAWN := table8 slug_llava $(ON_DRAWN)
# In the order in which one needs the other: siglip begins from clip's blocks, judges see pictures through the autoencoder of sd, sd3 draws with it
STANDINS := clip siglip sd judges sd3 llava
SD_TINY := src/razor_cli/families/diffusion/standins/sd_tiny
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help run test lint types suite test-slow bench bench-gpu tables architectures standins wheel-check clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

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

# A file stays in one process, as its tests share models, edits and runs; the order is that of the files, the
# longest of which lie in tests/cli and tests/contract
suite: .venv/.ready ## the test suite: offline, no GPU, two processes
	$(TEST_ENV) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu" $(ARGS)

test-slow: .venv/.ready ## full-size models, real photographs (RAZOR_CIFAR10=DIR), other slow checks
	$(TEST_ENV) $(BIN)/pytest -n 1 -m "slow" --timeout 1200 $(ARGS)

bench: .venv/.ready ## speed ratios, cost of every method in gradient passes, the forgetting table (CIFAR=DIR adds CIFAR-10 classes)
	$(BIN)/python scripts/bench.py $(ARGS)
	$(BIN)/python scripts/bench_uce.py
	$(BIN)/python scripts/bench_sd.py
	$(BIN)/python scripts/bench_memory.py

bench-gpu: .venv/.ready ## on a GPU: RAZOR and SLUG at full size, time and memory beside a plain pass, the same edit as on the CPU
	$(BIN)/python scripts/bench_gpu.py $(ARGS)

tables: .venv/.ready ## the papers' tables and figures from recorded runs (RUN=1 runs what is missing; SEEDS=0,1,2 TARGETS=1 JOBS=2 CIFAR=DIR)
ifdef RUN
	@failed=; for e in $(EXPERIMENTS); do \
		case " $(DRAWN) " in *" $$e "*) photos= ;; *) photos="$(if $(CIFAR),data.cifar_root=$(CIFAR))" ;; esac; \
		case " $(ALONE) " in *" $$e "*) jobs=1 ;; *) jobs=$(JOBS) ;; esac; \
		$(BIN)/razor-run experiment=$$e seed=$(SEEDS) jobs=$$jobs $(if $(TARGETS),targets=$(TARGETS)) $$photos $(ARGS) || failed="$$failed $$e"; \
	done; $(BIN)/razor tables all; test -z "$$failed" || { echo "not complete:$$failed"; exit 1; }
else
	$(BIN)/razor tables all $(ARGS)
endif

architectures: .venv/.ready ## try every architecture of open_clip with random weights, then write docs/architectures.md (ARGS="--only RN50,RN101 --full 150 --out DIR")
	$(TEST_ENV) $(BIN)/python scripts/architectures.py $(ARGS)

standins: .venv/.ready ## train the embedded models again (an hour or two each on two cores): MODEL=clip CIFAR=DIR, siglip CIFAR=DIR, sd, judges, sd3, llava; all without MODEL
	@test -z "$(filter-out $(STANDINS),$(MODEL))" || { echo "MODEL=$(MODEL): give one of $(STANDINS), or none for all"; exit 2; }
	@test -n "$(CIFAR)" || test -n "$(filter-out clip siglip,$(MODEL))" || { echo "give CIFAR=DIR, a folder with CIFAR-10, or MODEL=sd, judges, sd3 or llava"; exit 2; }
	$(if $(filter clip,$(or $(MODEL),clip)),$(BIN)/python scripts/train_standins.py clip --cifar $(CIFAR) $(ARGS))
	$(if $(filter siglip,$(or $(MODEL),siglip)),$(BIN)/python scripts/train_standins.py siglip --cifar $(CIFAR) $(ARGS))
	$(if $(filter sd,$(or $(MODEL),sd)),$(BIN)/python scripts/train_standins.py sd $(ARGS))
	$(if $(filter judges,$(or $(MODEL),judges)),$(BIN)/python scripts/train_standins.py judges --vae $(SD_TINY)/vae $(ARGS))
	$(if $(filter sd3,$(or $(MODEL),sd3)),$(BIN)/python scripts/train_standins.py sd3 $(ARGS))
	$(if $(filter llava,$(or $(MODEL),llava)),$(BIN)/python scripts/train_standins.py llava $(ARGS))

wheel-check: .venv/.ready ## build the wheel and run it from another folder in a fresh environment
	$(BIN)/python scripts/check_wheel.py

clean: ## remove outputs, caches and .venv
	rm -rf outputs dist build .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
