# `make demo` and `make test` are all that most people need; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := $(shell sed -n 's/^uv==//p' requirements.txt)

.PHONY: help setup lock lint test clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# One stamp file for each set of requirements: a second `make` costs nothing.
$(VENV)/bin/uv: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Modelyard needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No venv module: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(VENV)/.installed: $(VENV)/bin/uv requirements.txt pyproject.toml
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt --editable .
	@touch $@

$(VENV)/.installed-tests: $(VENV)/.installed tests/requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r tests/requirements.txt
	@touch $@

setup: $(VENV)/.installed-tests ## the virtual environment with everything in it

lock: ## write requirements.txt and tests/requirements.txt anew
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --extra pipeline --extra airflow --extra embedded pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  -c requirements.txt tests/requirements.in -o tests/requirements.txt

lint: $(VENV)/.installed-tests ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
