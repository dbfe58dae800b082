# Everything the project does, by one word each: `make help` lists the words.
# The only needs are Python 3.11 or newer, git and make; the first run sets up .venv from the hash-pinned requirements.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
# Each imports and collects everything for itself, for ten seconds of a processor; on two, six are done sooner than four all the same.
WORKERS ?= 6
ARGS ?=
# Everything optional but mem0, which is large, and comes with the group `bench`.
EXTRAS := $(shell sed -n '/^\[project.optional-dependencies\]/,/^$$/s/^\([a-z0-9]*\) = .*/\1/p' pyproject.toml | grep -v mem0)
UV := $(BIN)/uv pip install --quiet
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock" $(ARGS)

export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# uv trusts the certificates that this machine trusts, as pip does.
export UV_SYSTEM_CERTS ?= 1
# The tests start interpreters by the hundred: what one has compiled, the next need not.
export UV_COMPILE_BYTECODE ?= 1
unexport PYTHONDONTWRITEBYTECODE
# Pyright would ask the network for a newer version of itself.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/.run ## tell the story: one governed call, end to end, on this machine
	@$(BIN)/interlock demo

.PHONY: incident
incident: $(VENV)/.run ## tell the reference app's story: webhooks, a dead letter replayed, a process killed
	@$(BIN)/python examples/devops_incident_response/story.py

.PHONY: triage
triage: $(VENV)/.run ## tell the example agent's story: issues read, a person asked, a process killed (ARGS="--kill-at any")
	@$(BIN)/python examples/triage_agent/story.py $(ARGS)

# What has a target of its own; to collect it would be in vain, once for each worker.
APART := house faults rig soak live

.PHONY: test
test: $(VENV)/.dev ## run the tests, on SQLite and on Postgres, but for those apart (ARGS="-k word" narrows, WORKERS=9 widens)
	$(BIN)/pytest -n $(WORKERS) --dist=worksteal $(addprefix --ignore=tests/,$(APART)) $(ARGS)

# Each worker collects for itself: of ten thousand other tests that takes it longer than many of these take. A path narrows.
FAULTS = $(or $(filter tests/%,$(ARGS)),tests/faults $(shell grep -rlw faults --include='test_*.py' tests | grep -v ^tests/faults/))

.PHONY: faults
faults: $(VENV)/.dev ## run the tests that kill, cut and crowd, on SQLite and on Postgres
	$(BIN)/pytest -n $(WORKERS) --dist=worksteal -m faults $(filter-out tests/%,$(ARGS)) $(FAULTS)

.PHONY: examples
examples: $(VENV)/.dev ## do what README and docs say, page by page
	$(BIN)/pytest -n $(WORKERS) --dist=worksteal -m examples $(ARGS) tests/docs

# One run starts its workers and the database once, and whoever has ended early helps with what is left.
.PHONY: apart
apart: $(VENV)/.dev ## both of these in one run, as CI does
	$(BIN)/pytest -n $(WORKERS) --dist=worksteal -m "faults or examples" $(filter-out tests/%,$(ARGS)) $(FAULTS) tests/docs

.PHONY: check
check: lint types contracts house ## run all checks that need no running system

.PHONY: lint
lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(VENV)/.dev ## pyright, strict
	$(BIN)/pyright

.PHONY: contracts
contracts: $(VENV)/.dev ## who may import whom
	$(BIN)/lint-imports

.PHONY: house
house: $(VENV)/.dev ## the house rules as tests: sizes, doors, errors, purity
	$(BIN)/pytest -q tests/house

.PHONY: format
format: $(VENV)/.dev ## let ruff put the source in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: coverage
coverage: $(VENV)/.dev ## run all tests and show which lines and branches they miss
	$(BIN)/pytest -n $(WORKERS) --dist=worksteal -m "not live and not rig and not soak" --cov --cov-report=term:skip-covered $(ARGS)

.PHONY: bench
bench: $(VENV)/.bench ## measure speed as ratios to baselines taken in the same run
	$(BIN)/python -m bench $(ARGS)

PRISM := @stoplight/prism-cli@5.14.2
AXE := axe-core@4.14.1
EDITOR := vscode-json-languageservice@5.7.2
LLAMA := 'llama-cpp-python[server]==0.3.36' gguf numpy
SANDBOXES := bubblewrap runc runsc openssh-server chromium-headless-shell

.PHONY: rig
rig: $(VENV)/.dev ## test against real parts made by others (npm: installs Prism into .tools; cmake: builds llama.cpp there; apt as root: sandboxes, sshd, a browser)
	test -x .tools/prism/node_modules/.bin/prism || npm install --silent --no-audit --no-fund --prefix .tools/prism $(PRISM)
	test -e .tools/axe/node_modules/axe-core || npm install --silent --no-audit --no-fund --prefix .tools/axe $(AXE)
	test -e .tools/editor/node_modules/vscode-json-languageservice || npm install --silent --no-audit --no-fund --prefix .tools/editor $(EDITOR)
	@# Built here, in minutes, for any processor. Without a compiler the tests with a model skip, and say what is missing.
	test -x .tools/llama/bin/python || ! command -v cmake >/dev/null || { $(BIN)/uv venv --quiet --python $(BIN)/python .tools/llama && \
		VIRTUAL_ENV=.tools/llama CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAMA_BUILD_TESTS=OFF" $(UV) $(LLAMA); } || rm -rf .tools/llama
	@# Without root or apt the sandboxes' tests skip, and say what is missing.
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v bwrap && command -v runc && command -v runsc && command -v sshd && command -v chromium-headless-shell; } >/dev/null; then \
		apt-get install -y --no-install-recommends $(SANDBOXES) >/dev/null; fi
	$(BIN)/pytest -m rig tests/rig $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## the long tests: every boundary, many rounds (SOAK_ROUNDS=100, SOAK_SEED=…, SOAK_BYTES=1000000000, SOAK_SECONDS=600, SOAK_EVENTS=20000, SOAK_FINISHED=1000000), every property
	@# -rP shows what they print: seeds and figures.
	$(BIN)/pytest -n $(WORKERS) --dist=worksteal -rP -m soak --timeout=3600 tests/soak/soak_*.py $(ARGS)
	$(BIN)/pytest -n $(WORKERS) -m hypothesis --hypothesis-profile=soak --timeout=3600 $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## fuzz all that reads bytes from outside, led by coverage (FUZZ_SECONDS=20 each, ARGS="url packet")
	$(BIN)/python tools/fuzz.py $(ARGS)

.PHONY: schemas
schemas: $(VENV)/.dev ## write schemas/ from the models
	$(BIN)/python tools/schemas.py --write

.PHONY: memory-reports
memory-reports: $(VENV)/.bench ## try our memory providers, and write their reports into docs/memory-reports
	$(BIN)/python tools/memory_reports.py --write $(ARGS)

.PHONY: model-reports
model-reports: $(VENV)/.dev ## ask every kind of provider for every feature, and write what came of it into docs/models.md
	PYTHONPATH=tests $(BIN)/python tools/model_reports.py --write

.PHONY: lock
lock: $(VENV)/.bootstrap ## pin requirements/ anew from pyproject.toml (ARGS=--upgrade for newer versions)
	printf 'uv\nhatchling\neditables\n' | $(LOCK) --output-file requirements/bootstrap.txt -
	$(LOCK) $(EXTRAS:%=--extra %) --group dev --output-file requirements/dev.txt pyproject.toml
	$(LOCK) --constraints requirements/dev.txt --output-file requirements/run.txt pyproject.toml
	$(LOCK) --constraints requirements/dev.txt --output-file requirements/bench.txt --group bench
	$(LOCK) --constraints requirements/dev.txt --output-file requirements/fuzz.txt --group fuzz

# The three stages of the virtual environment. Each is done again when what it is made from changes.
$(VENV)/.bootstrap: requirements/bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Interlock needs Python 3.11 or newer on the PATH; or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(VENV)/.run: $(VENV)/.bootstrap requirements/run.txt pyproject.toml
	@$(UV) --require-hashes -r requirements/run.txt
	@$(UV) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@$(UV) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	@$(UV) --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev requirements/fuzz.txt
	@$(UV) --require-hashes -r requirements/fuzz.txt
	@touch $@
