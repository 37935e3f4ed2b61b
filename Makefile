# `make train` and `make test` work on a fresh machine with nothing but Python >= 3.11.
# `make PYTHON=python3 …` uses an environment that is there already instead of setting one up.
PYTHON ?= .venv/bin/python
SYSTEM_PYTHON ?= python3
ifeq ($(PYTHON),.venv/bin/python)
STAMP = .venv/.installed
else
STAMP =
endif

.PHONY: train test test-learning lint format bench clean wheel

train: $(STAMP) ## set up and run the main job: DQN on CartPole-v1
	$(PYTHON) -m rlkit train experiment=dqn_cartpole

test: $(STAMP) ## set up and pass the tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not learning"

test-learning: $(STAMP) ## minutes of real learning
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m learning --timeout=3600

lint: $(STAMP)
	$(PYTHON) -m ruff check rlkit tests benchmarks
	$(PYTHON) -m ruff format --check rlkit tests benchmarks
	$(PYTHON) -m mypy

format: $(STAMP)
	$(PYTHON) -m ruff check --fix rlkit tests benchmarks
	$(PYTHON) -m ruff format rlkit tests benchmarks

wheel: $(STAMP)
	$(PYTHON) -m pip wheel -q --no-deps --wheel-dir dist .

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache

.venv/.installed: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(SYSTEM_PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q -c constraints.txt torch
	.venv/bin/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@
