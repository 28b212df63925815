# Every target works alone on a machine with Python >= 3.11, make and the package index.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
# One thread a process: tests and trials run side by side, and sums come out the same on every machine.
export OMP_NUM_THREADS ?= 1
export MPLBACKEND := Agg

.PHONY: install quickstart test test-slow fuzz check format docs lab notebooks clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "petl_study needs Python 3.11 or newer; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,notebooks,peft,clip,ray,tensorboard,mlflow]'
	touch $@

quickstart: install
	$(BIN)/petl-study quickstart --out runs/quickstart

test: install
	$(BIN)/python -m pytest --numprocesses 2

test-slow: install
	$(BIN)/python -m pytest -m slow

# Every reader of other people's files on a hundred thousand of them, changed at random: nightly, some twenty minutes.
fuzz: install
	PETL_FUZZ=3000 $(BIN)/python -m pytest tests/test_fuzz.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python tests/methods/families.py
	$(BIN)/python -m petl_study.catalogue

lab: install
	$(BIN)/jupyter lab notebooks

# Executes them in place, on RUNS (runs/reference by default); minutes, as two of them build models.
notebooks: install
	$(BIN)/python notebooks/execute.py

clean:
	rm -rf .venv build *.egg-info
