.DEFAULT_GOAL := help

# Called with `make -f` from elsewhere, everything runs in the folder of this file, whatever its name.
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd -P)
ifneq ($(CURDIR),$(ROOT))
GOALS := $(or $(MAKECMDGOALS),help)
.PHONY: $(GOALS)
$(GOALS):
	@$(MAKE) --no-print-directory -C "$(ROOT)" $@
else

.PHONY: help run test suite retest coverage test-all test-other test-latest test-clients test-agents test-scale lint \
	format lock bench soak

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
CLIENTS := .venv-clients
AGENTS := .venv-agents
WORKERS ?= 2
# `python -m` instead of the scripts in bin/, whose first line fails if the path of the interpreter has a space.
BIN = $(VENV)/bin/python
PIP = $(BIN) -m pip --disable-pip-version-check
LOCK = $(BIN) -m uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate \
	--custom-compile-command "make lock"

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

run: $(VENV)/run.stamp ## serve on :8000, with the built-in simulator if no Ollama responds
	@$(BIN) -m server.launcher

test: lint suite ## lint, check types, and run the tests, except test-clients, -agents and -scale

suite: $(VENV)/dev.stamp ## run the tests
	$(BIN) -m pytest -n $(WORKERS) --dist loadfile

retest: $(VENV)/dev.stamp ## rerun the tests that failed last, one at a time
	$(BIN) -m pytest --last-failed --last-failed-no-failures none

coverage: $(VENV)/dev.stamp ## run all tests and report the branches that are not covered
	@rm -f .coverage .coverage.*
	$(BIN) -m coverage run -m pytest -n $(WORKERS) --dist loadfile
	@$(BIN) -m coverage combine --quiet
	@$(BIN) -m coverage report --skip-covered --fail-under=95

test-all: ## run all tests on each supported Python that is found
	@failed=; tested=; \
	for version in $$(scripts/pythons.sh | cut -d ' ' -f 1); do \
		python=$$(scripts/pythons.sh | sed -n "s/^$$version //p"); \
		if [ -z "$$python" ]; then echo "Python $$version was not found"; continue; fi; \
		echo "Python $$version: $$python"; tested="$$tested $$version"; \
		$(MAKE) --no-print-directory suite PYTHON="$$python" VENV=".venv-$$version" || failed="$$failed $$version"; \
	done; \
	echo "tested on Python:$${tested:- none}; failed on:$${failed:- none}"; \
	[ -n "$$tested" ] && [ -z "$$failed" ]

test-other: ## run all tests (or TARGET) on the newest Python that is found and is not the default one
	@default=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	other=$$(scripts/pythons.sh | grep ' .' | grep -v "^$$default " | tail -n 1); \
	if [ -z "$$other" ]; then echo "no Python other than $$default was found"; exit 0; fi; \
	echo "Python $$other"; \
	$(MAKE) --no-print-directory $(or $(TARGET),suite) PYTHON="$${other#* }" VENV=".venv-$${other%% *}"

test-latest: $(VENV)-latest/pip.stamp ## run all tests with the newest releases of all dependencies
	sed -nE 's/^([A-Za-z0-9._-]+)==[^;]*/\1/p' requirements.txt requirements-otel.txt requirements-dev.txt > $(VENV)-latest/requirements.txt
	$(VENV)-latest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -r $(VENV)-latest/requirements.txt
	$(VENV)-latest/bin/python -m pip list
	$(VENV)-latest/bin/python -m pytest -n $(WORKERS) --dist loadfile

test-clients: $(CLIENTS)/dev.stamp $(CLIENTS)/npm.stamp ## run real clients (Python, Node, Next.js) against the service
	$(CLIENTS)/bin/python -m pytest -o timeout=900 tests/clients

test-agents: $(VENV)/dev.stamp $(AGENTS)/agents.stamp ## CrewAI's agents against the service
	AGENTS_PYTHON=$(AGENTS)/bin/python $(BIN) -m pytest -o timeout=600 tests/agents

test-scale: $(VENV)/scale.stamp ## replicas, HAProxy and several servers under load, and the files of deploy/
	$(BIN) -m pytest tests/scale

lint: $(VENV)/dev.stamp ## ruff, the import rule and mypy
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo
	$(BIN) -m mypy

format: $(VENV)/dev.stamp ## fix what ruff can fix
	$(BIN) -m ruff check --fix .
	$(BIN) -m ruff format .

lock: $(VENV)/dev.stamp ## write the lock files of the image: all packages with their hashes
	$(PIP) install --quiet uv==0.13.9
	$(LOCK) requirements.txt --output-file requirements.lock
	$(LOCK) requirements.txt requirements-otel.txt --output-file requirements-otel.lock

bench: $(VENV)-bench/bench.stamp ## compare the speed with a plain service and nginx
	$(VENV)-bench/bin/python -m benchmarks

soak: $(VENV)/dev.stamp ## 10,000 requests, a third of them cancelled; detects leaks
	$(BIN) -m tests.soak

$(VENV)/run.stamp: requirements.txt | $(VENV)/pip.stamp
	$(PIP) install --quiet -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements.txt requirements-dev.txt requirements-otel.txt | $(VENV)/pip.stamp
	$(PIP) install --quiet -r requirements-dev.txt
	@touch $@ $(VENV)/run.stamp

$(VENV)/scale.stamp: requirements-scale.txt $(VENV)/dev.stamp
	$(PIP) install --quiet -r requirements-scale.txt
	@touch $@

# The packages of the image, and no others: OpenTelemetry's SDK would be looked for in each request.
$(VENV)-bench/bench.stamp: requirements.txt requirements-bench.txt | $(VENV)-bench/pip.stamp
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(CLIENTS)/dev.stamp: requirements.txt requirements-dev.txt requirements-otel.txt tests/clients/requirements.txt | $(CLIENTS)/pip.stamp
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

$(CLIENTS)/npm.stamp: tests/clients/js/package-lock.json | $(CLIENTS)/pip.stamp
	@if command -v npm > /dev/null; then npm ci --prefix tests/clients/js --no-audit --no-fund && touch $@; \
	else echo "npm was not found: the tests of Node's clients are skipped"; fi

# CrewAI needs Python below 3.14. Most of its 1 GB is never imported, so nothing is compiled in advance.
$(AGENTS)/pip.stamp: PYTHON = $(shell scripts/pythons.sh | sed -nE 's/^3\.1[123] (.+)/\1/p' | tail -n 1)

$(AGENTS)/agents.stamp: examples/crewai/requirements.txt | $(AGENTS)/pip.stamp
	$(AGENTS)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r examples/crewai/requirements.txt
	@touch $@

%/pip.stamp:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found; name yours: make run PYTHON=…"; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	"$(PYTHON)" -m venv $*
	@touch $@

endif
