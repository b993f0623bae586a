# The two commands of the README are `make train` and `make test`; each makes the virtual environment if it is missing.
PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/digits
INSTALLED := $(VENV)/.installed

.PHONY: train test test-slow lint docs clean

$(INSTALLED): requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

train: $(INSTALLED)
	$(VENV)/bin/python -m experiments.train --config=experiments/configs/digits.py --workdir=$(WORKDIR)
	$(VENV)/bin/python -m experiments.evaluate --workdir=$(WORKDIR) --split=test --bound=iwae --num_samples=64
	$(VENV)/bin/python -m experiments.sample --workdir=$(WORKDIR) --num_samples=16

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

docs: $(INSTALLED)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	$(VENV)/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) docs/_build docs/api build dist *.egg-info
