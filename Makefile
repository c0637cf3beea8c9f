# Two commands do everything on a fresh machine:
#   make quickstart    sets up, trains on the built-in data, leaves runs/quickstart/
#   make test          sets up, checks style and types, runs the tests
# A third measures everything anew and rebuilds the tables: make benchmark.
# PYTHON picks the interpreter (3.10 to 3.13), VENV where its packages go:
#   make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= python3
VENV ?= .venv
RESULTS := benchmarks/results
TURNS := $(if $(ROUNDS),--rounds=$(ROUNDS))
# The tests of losses are apart: XLA keeps what it compiled as long as a process lives.
PYTEST := --numprocesses=auto --maxprocesses=4
BIN := $(VENV)/bin
# Spares the screen TensorFlow's start-up notices; errors stay.
export TF_CPP_MIN_LOG_LEVEL ?= 2
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# The stamps name the interpreter's version: another PYTHON sets the folder up anew.
BASE := $(VENV)/.installed-$(VERSION)
TEST := $(VENV)/.installed-test-$(VERSION)

.PHONY: quickstart test benchmark clean

quickstart: $(BASE)
	$(BIN)/python -m ms_keras.train --flagfile=configs/quickstart.cfg --run_dir=runs/quickstart

test: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PYTEST) --ignore=tests/losses
	$(BIN)/python -m pytest $(PYTEST) tests/losses

# Hours, on a machine that has nothing else to do; ROUNDS=1, with one turn of each
# contender where there are several, is the shortest. Images are generated, or those of
# IMAGES, flags such as --dataset=image_folder --data_dir=CUB_200_2011/images. A part
# that fails does not stop the others; what failed is told at the end.
benchmark: $(TEST)
	@failed=; \
	part() { \
	  echo "== benchmarks.$$1"; \
	  $(BIN)/python -m "benchmarks.$$@" || failed="$$failed $$1"; \
	}; \
	part loss $(TURNS) --out=$(RESULTS)/loss.json; \
	part loss $(TURNS) --losses=others --out=$(RESULTS)/other_losses.json; \
	part recall $(TURNS) --out=$(RESULTS)/recall.json; \
	part step $(IMAGES) --out=$(RESULTS)/step.json; \
	part input_pipeline $(IMAGES) --image_size=224 --short_side=224 \
	  --out=$(RESULTS)/input_pipeline.json; \
	part startup $(TURNS) --out=$(RESULTS)/startup.json; \
	part serving --out=$(RESULTS)/serving.json; \
	part exits --out=$(RESULTS)/exits_tf$$($(BIN)/python -c \
	  "import tensorflow as tf; print(tf.__version__.rpartition('.')[0])").json; \
	part rebuild; \
	if [ -n "$$failed" ]; then echo "Failed:$$failed" >&2; exit 1; fi

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
