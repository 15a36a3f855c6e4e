PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export TOKENIZERS_PARALLELISM := false

.PHONY: run test check setup notebooks runs clean

run: $(READY)  ## the quickstart notebook on an embedded model; prints its closing table
	@$(BIN)/latentseek notebook notebooks/00_quickstart.ipynb

test: $(READY)  ## all tests
	$(BIN)/python -m pytest -q -m ""

check: $(READY)  ## the quick loop: style and fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q

setup: $(READY)  ## only makes .venv and installs into it

notebooks: $(READY)  ## executes all notebooks anew, in place
	@for notebook in notebooks/*.ipynb; do $(BIN)/latentseek notebook $$notebook --in-place || exit 1; done
	@mkdir -p notebooks/figures && cp out/quickstart/accuracy.* notebooks/figures/

# The committed runs on the embedded model: all 1,000 test problems, about a quarter of an hour. What is finished is not done again.
RUN := $(BIN)/latentseek run -m tiny-qwen2-1.8m -b tiny-gsm --max-new-tokens 256
RUNS := data/runs/tiny-gsm

runs: $(READY)  ## measures the methods on the embedded model
	$(RUN) --method cot -o $(RUNS)/cot
	for reward in self psrm; do \
	    $(RUN) --method latentseek --reward $$reward -o $(RUNS)/latentseek-$$reward && \
	    $(RUN) --method resample --reward $$reward --budget-from $(RUNS)/latentseek-$$reward -o $(RUNS)/resample-$$reward || exit 1; \
	done

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}; name another with: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:  ## removes everything that was made here
	rm -rf $(VENV) out
