# Everything runs from a virtual environment of its own, .venv, pinned by constraints.txt.
#   make demo                 a whole swarm on this machine: trains a small multilingual model in minutes
#   make test                 the tests (under 8 minutes on 2 cores)
#   make install TORCH=cuda   insist on a torch that can use an NVIDIA GPU (default: cpu, any build will do)

PYTHON ?= python3.11
TORCH ?= cpu
TORCH_INDEX ?=
DEMO ?=
SHARED := -n logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder  # one process a core; tests/conftest.py
BIN := .venv/bin
STAMP := .venv/installed-$(TORCH)

.PHONY: install demo test test-all check format bench clean docs

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on this machine; install Python 3.11 or say which one: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch --constraint constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python .ci/torch_build.py $(TORCH)
	@rm -f .venv/installed-*; touch $@

demo: install
	$(BIN)/bloomswarm demo $(DEMO)

test: install
	$(BIN)/python -m pytest $(SHARED) -m "not slow"

test-all: install
	$(BIN)/python -m pytest $(SHARED) --timeout 1800

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow and not real" tests/test_layering.py tests/docs

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	@for name in codec averaging rounds parity scale; do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf .venv build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
