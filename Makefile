# `make` lists the verbs; `make lint test` is what continuous integration runs.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint fuzz bench run docs lock

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
UV_VERSION := 0.13.9
UV := $(BIN)/uv pip
COMPILE := compile --quiet --universal --generate-hashes --no-header --python-version 3.11
PACKAGES := api carriers certs crypto eim es12 es2plus es9plus esipa hsm_mock rsp server simulator smdp store swap tenancy transport webhooks

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## install what the other verbs need into .venv (they do it by themselves)

demo: $(READY) ## downloads and carrier swaps against simulated cards; make demo UPP=file.der takes your profile
	$(BIN)/smdp demo $(if $(UPP),--upp "$(UPP)")

test: $(READY) ## run all tests; make test ARGS="-k name" runs some
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY) ## style, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(wildcard $(PACKAGES)) tests tools
	$(BIN)/lint-imports

fuzz: $(READY) ## broken messages for every reader and a whole server; make fuzz ARGS="--inputs 100000"
	$(BIN)/python tools/fuzz.py $(ARGS)

bench: $(READY) ## measure downloads per second and what they cost
	$(BIN)/python tools/bench.py $(ARGS)

run: $(READY) ## run the server; without settings of your own, on generated test certificates in var/
	$(BIN)/python tools/run.py $(ARGS)

docs: $(READY) ## write the generated pages of docs/ again
	$(BIN)/python tools/docs.py
	$(BIN)/python tools/conformance.py

lock: $(READY) ## resolve requirements.txt and requirements-dev.txt again; make lock ARGS=--upgrade takes newer ones
	$(UV) $(COMPILE) $(ARGS) pyproject.toml --output-file requirements.txt
	$(UV) $(COMPILE) $(ARGS) pyproject.toml --extra dev --constraints requirements.txt --output-file requirements-dev.txt

# uv installs in seconds; pip does the same slowly where uv does not run or cannot reach what pip reaches.
$(READY): pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later is needed; name it: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) 2>/dev/null || echo "going on without uv" >&2
	@echo "installing the locked requirements"
	@$(UV) install --quiet --python $(BIN)/python --require-hashes --requirement requirements-dev.txt || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --config-settings editable_mode=compat --editable .
	@touch $@
