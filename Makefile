# Two commands do everything on a fresh machine with Python 3.11 or 3.12:
#   make demo   install, distil a 4x smaller PointPillars on data made on the spot, report
#   make test   install, lint, test
# and `make docs` builds the pages into build/docs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= demo

.PHONY: demo test lint slow bench docs setup clean

demo: setup
	$(BIN)/kdbench run --method pointdistiller --detector pointpillars --ratio 4 --results $(RESULTS)
	$(BIN)/kdbench report --results $(RESULTS)

# A process a core: the tests' networks are too small to share one among threads.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: setup
	$(BIN)/python -m pytest -m slow

bench: setup
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' -m '' --benchmark-only

# A warning is an error, a link that leads nowhere too.
docs: $(VENV)/.documented
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

setup: $(VENV)/.installed

# constraints.txt pins every package, so that the same versions are tested and used.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build docs/method *.egg-info
