# `make demo` and `make test` are all that most people need; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := $(shell sed -n 's/^uv==//p' requirements.txt)

.PHONY: help demo stop setup lock lint test test-faults test-frameworks pictures bench

# Airflow starts a fresh process for each task: without byte code on disk every one of them would compile again.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.installed ## start everything on this machine and take the example model to a live answer
	@$(BIN)/python -m modelyard.demo up

stop: $(VENV)/.installed ## end all that the demo started
	@$(BIN)/python -m modelyard.demo stop

# Those whose steps are pods of a cluster wait for it most of the time: beside the others. Those with an Airflow come when
# these are done: one after the other, in two sessions as each has an Airflow to its end.
PODS := $(patsubst %,tests/kubernetes/test_%.py,credentials faults garbage pods)
# What takes minutes a case: only with `make test-faults`.
LONG := $(patsubst %,tests/kubernetes/test_%.py,cancelled dockerfile examples killed outages scaling) \
  $(patsubst %,tests/end_to_end/test_%.py,approval change_under_load clear demo git_project operators other_servers \
    retries) \
  $(patsubst %,tests/docker/test_%.py,airflow dockerfile our_dockerfiles step_ends) \
  $(patsubst %,tests/pipeline/test_%.py,garbage isolation laptop outages platforms production) \
  tests/integration/images/test_other_platform.py
# A file is one process's from its first test to its last: those with the longest tests come first.
LONGEST := tests/pipeline/
PAGES := tests/integration/airflow
WITH_AIRFLOW := tests/integration/demo tests/end_to_end tests/browser tests/docker

test: lint ## lint, types and all tests that this machine can run
	@$(BIN)/pytest $(PODS) >$(VENV)/pods.log 2>&1 & pods=$$!; \
	  $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	    $(addprefix --ignore=,$(PAGES) $(WITH_AIRFLOW) $(PODS) $(LONG)) \
	    $(LONGEST) $(filter-out $(LONGEST) $(addsuffix /,$(WITH_AIRFLOW)),$(wildcard tests/*/)); others=$$?; \
	  $(BIN)/pytest $(PAGES); pages=$$?; $(BIN)/pytest $(addprefix --ignore=,$(LONG)) $(WITH_AIRFLOW); airflow=$$?; \
	  echo "Beside these, on a cluster:"; wait $$pods; pods=$$?; cat $(VENV)/pods.log; exit $$((others + pages + airflow + pods))

test-faults: $(VENV)/.installed-tests ## every fault at every step, at many moments, and all that takes long: make test-faults MODELYARD_FAULTS=50
	@MODELYARD_FAULTS=$${MODELYARD_FAULTS:-20} $(BIN)/pytest -s tests/pipeline/test_faults.py \
	  $(patsubst %,tests/kubernetes/test_%.py,faults pods roll_outs) $(patsubst %,tests/end_to_end/test_%.py,refusals rest_api) \
	  tests/unit/serving/test_fuzz.py tests/integration/serving/test_fuzz.py $(LONG)

test-frameworks: $(VENV)/.installed-tests ## the flavors of large frameworks: PyTorch, Keras, TensorFlow, MLflow; every kind of booster
	@MODELYARD_FRAMEWORKS=1 $(BIN)/pytest tests/integration/client/test_flavors.py tests/integration/serving/test_golden.py \
	  tests/integration/compilation/test_compile.py

pictures: $(VENV)/.installed-tests ## the README's pictures of Airflow, taken anew by the browser tests
	@$(BIN)/pytest tests/browser --pictures

bench: $(VENV)/.installed-tests ## the benchmarks, as tables
	@for benchmark in tests/benchmarks/bench_*.py; do PYTHONPATH=. $(BIN)/python $$benchmark || exit 1; done

# One stamp file for each set of requirements: a second `make` costs nothing.
$(VENV)/bin/uv: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Modelyard needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 …"; exit 1; }
	@echo "Setting up $(VENV): one to two minutes, once …"
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

# Of what onnxruntime asks for, these are for its tools: running a model takes none of them.
ONNXRUNTIME_WITHOUT := flatbuffers packaging protobuf
# The converters take these from the project whose model they convert.
PROJECTS_OWN := cloudpickle joblib narwhals numpy scikit-learn scipy threadpoolctl

lock: ## write all requirements.txt anew
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --extra pipeline --extra airflow --extra embedded pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  -c requirements.txt tests/requirements.in -o tests/requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  -c requirements.txt docker/airflow/requirements.in -o docker/airflow/requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  $(addprefix --no-emit-package ,$(ONNXRUNTIME_WITHOUT)) \
	  --generate-hashes include/modelyard/serving/requirements.in -o include/modelyard/serving/requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  $(addprefix --no-emit-package ,$(PROJECTS_OWN)) \
	  --generate-hashes include/modelyard/compilation/requirements.in -o include/modelyard/compilation/requirements.txt
	@for peer in bentoml mlflow mlserver; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
	  --no-header --no-emit-index-url tests/benchmarks/peers/$$peer.in -o tests/benchmarks/peers/$$peer.txt || exit 1; done

lint: $(VENV)/.installed-tests ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
