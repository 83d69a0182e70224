# `make run` and `make test` are all a newcomer needs; both install what they use into .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
METHODS ?= pi,yarn,abf,entropy_abf,self_extend
PACKAGES := longbench_run.harness longbench_run.tasks longbench_run.results longbench_run.reports longbench_run.recipes

# The constraint matters: without it pip brings several GB of CUDA packages along with torch.
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test lint types docs bench venv clean

run: venv ## PRESET=smoke for a run of seconds, OUTPUT=folder for another output folder
	$(BIN)/longbench-run --methods $(METHODS) $(if $(PRESET),--preset $(PRESET)) $(if $(OUTPUT),--output $(OUTPUT))

test: lint types ## what CI runs; pytest comes last, so that its summary is the last thing printed
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder # conftest.py orders

lint: $(VENV)/.installed-development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/typos

# mypy does not follow an editable install (python/mypy#13392): it checks the built wheel, as a user's mypy would.
types: $(VENV)/.installed-development
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --target build/installed build/wheel/*.whl
	MYPYPATH=build/installed $(BIN)/mypy $(addprefix -p ,$(PACKAGES))

docs: $(VENV)/.installed-development ## the documentation site, build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: venv ## what the engine costs against the usual ways, on a CPU: benchmarks/results/engine.md
	$(BIN)/python -m benchmarks

venv: $(VENV)/.installed

# Editable: what is edited is what runs, so an installation is out of date only when these files change.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' # the first to know --group
	PYTHONWARNINGS=ignore $(PIP_INSTALL) --editable . # setuptools warns of what tests/test_architecture.py guards
	touch $@

$(VENV)/.installed-development: $(VENV)/.installed
	$(PIP_INSTALL) --group test --group lint --group types --group docs
	touch $@

clean: ## everything made here but runs/, which holds measurements
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
