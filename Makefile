PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export TOKENIZERS_PARALLELISM := false

# One thread a process: the workers share the cores, and torch's threads of several workers wait for each other. Work is stolen rather
# than dealt out: neighbouring tests, which share what they have built, stay in one process, and none is idle at the end.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal

.PHONY: run test check setup notebooks book runs ledger bench clean

run: $(READY)  ## the quickstart notebook on an embedded model; prints its closing table
	@$(BIN)/latentseek notebook notebooks/00_quickstart.ipynb
	@echo "next: source $(BIN)/activate makes the command latentseek known to this shell; book/evening.md is a walk from there"

test: $(READY)  ## all tests
	$(PYTEST) -m ""

check: $(READY)  ## the quick loop: style and fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST)

setup: $(READY)  ## only makes .venv and installs into it

notebooks: $(READY)  ## executes all notebooks anew, in place
	@for notebook in notebooks/*.ipynb; do $(BIN)/latentseek notebook $$notebook --in-place || exit 1; done
	@mkdir -p notebooks/figures && cp out/quickstart/accuracy.* notebooks/figures/

book: $(READY)  ## the web book, from the notebooks as they are: out/book/html/index.html
	@$(BIN)/latentseek book

# The committed runs on the smaller embedded models: all 1,000 test problems. What is finished is not done again.
runs: $(READY)  ## measures the methods on the embedded models
	$(BIN)/latentseek sweep data/sweeps/tiny-gsm-tune.yaml
	$(BIN)/latentseek sweep data/sweeps/tiny-gsm.yaml
	$(BIN)/latentseek pack 'data/runs/tiny-gsm*/*/*'

ledger: $(READY)  ## holds the paper's claims against the committed runs
	$(BIN)/latentseek ledger --out book/ledger.md

bench: $(READY)  ## the speed comparison, on an idle machine; tables and figures in benchmarks/results
	$(BIN)/python benchmarks/speed.py

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; name another with: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:  ## removes everything that was made here
	rm -rf $(VENV) out
