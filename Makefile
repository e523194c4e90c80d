# Two commands: `make repro` and `make test`. Both set up .venv first, which is skipped when nothing changed: by pip, or
# by uv with `make UV=uv …`.
PYTHON ?= python3
UV ?=
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test check setup clean

repro: setup
	heml repro
	@python -m benchmarks.reproduced || true
	@echo "open reports/index.html"

test: setup check
	pytest -n 2 --dist loadfile

check: setup
	ruff check .
	ruff format --check .
	mypy

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "error: Python 3.11 or newer is needed, '\
	'this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 repro")'
ifdef UV
	$(UV) venv --quiet --clear --seed --python $(PYTHON) .venv
	$(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
else
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
endif
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
