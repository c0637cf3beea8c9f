# Two commands do everything on a fresh machine:
#   make quickstart    sets up, trains on the built-in data, leaves runs/quickstart/
#   make test          sets up, checks style and types, runs the tests
# PYTHON picks the interpreter (3.10 to 3.13), VENV where its packages go:
#   make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Spares the screen TensorFlow's start-up notices; errors stay.
export TF_CPP_MIN_LOG_LEVEL ?= 2
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The stamps name the interpreter's version: another PYTHON sets the folder up anew.
BASE := $(VENV)/.installed-$(VERSION)
TEST := $(VENV)/.installed-test-$(VERSION)

.PHONY: quickstart test clean

quickstart: $(BASE)
	$(BIN)/python -m ms_keras.train --flagfile=configs/quickstart.cfg --run_dir=runs/quickstart

test: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4

$(BASE): requirements.txt pyproject.toml
	@case "$(VERSION)" in 3.10|3.11|3.12|3.13) ;; *) \
	  echo "ms_keras needs Python 3.10 to 3.13; $(PYTHON) is '$(VERSION)'." \
	       "Choose one: make PYTHON=python3.12 ..." >&2; exit 1;; esac
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(TEST): $(BASE)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info
