# `make train` and `make test` work on a fresh machine with nothing but Python >= 3.11.
# `make PYTHON=python3 …` uses an environment that is there already instead of setting one up.
PYTHON ?= .venv/bin/python
SYSTEM_PYTHON ?= python3
ifeq ($(PYTHON),.venv/bin/python)
STAMP = .venv/.installed
BENCH_STAMP = .venv/.installed-bench
ENVS_STAMP = .venv/.installed-envs
else
STAMP =
BENCH_STAMP =
ENVS_STAMP =
endif

.PHONY: bench-neat-learning train test test-envs test-learning lint format bench bench-speed bench-learning bench-overhead bench-envs bench-neat clean wheel

train: $(STAMP) ## set up and run the main job: DQN on CartPole-v1
	$(PYTHON) -m rlkit train

# Two processes where pytest-xdist is there; JOBS=1 for one.
JOBS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest $$($(PYTHON) -c 'import xdist; print("-n $(JOBS) --dist loadfile")' 2> /dev/null)

test: $(STAMP) ## set up and pass the tests
	$(PYTEST) -m "not learning"

test-envs: $(ENVS_STAMP) ## every group of environments, none skipped; installs them all
	RLKIT_ALL_ENVS=1 $(PYTEST) tests/envs tests/tour

test-learning: $(STAMP) ## minutes of real learning
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m learning --timeout=3600

lint: $(STAMP)
	$(PYTHON) -m ruff check rlkit tests benchmarks experiments docs/tools
	$(PYTHON) -m ruff format --check rlkit tests benchmarks
	$(PYTHON) -m mypy

format: $(STAMP)
	$(PYTHON) -m ruff check --fix rlkit tests benchmarks
	$(PYTHON) -m ruff format rlkit tests benchmarks

bench: bench-speed bench-learning bench-overhead bench-envs ## everything measured; tables in benchmarks/results

bench-speed: $(BENCH_STAMP) ## steps per second beside Stable-Baselines3; ARGS="repeats=5 device=cpu"
	$(PYTHON) -m benchmarks.speed $(ARGS)

bench-learning: $(BENCH_STAMP) ## the CartPole presets on ten seeds
	$(PYTHON) -m benchmarks.learning $(ARGS)

bench-overhead: $(BENCH_STAMP) ## the cost of records, TensorBoard and checkpoints
	$(PYTHON) -m benchmarks.overhead $(ARGS)

bench-envs: $(BENCH_STAMP) ## steps per second of every engine beside bare Gymnasium and EnvPool
	$(PYTHON) -m benchmarks.envs $(ARGS)

bench-neat: $(BENCH_STAMP) ## NEAT's generations and evolution step beside neat-python
	$(PYTHON) -m benchmarks.neat $(ARGS)

bench-neat-learning: $(BENCH_STAMP) ## NEAT's evaluations until solved, beside neat-python; hours
	$(PYTHON) -m benchmarks.neat_learning $(ARGS)

wheel: $(STAMP)
	$(PYTHON) -m pip wheel -q --no-deps --wheel-dir dist .

clean:
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache

.venv/.installed: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(SYSTEM_PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q -c constraints.txt torch
	.venv/bin/python -m pip install -q -c constraints.txt -e ".[dev,atari,box2d,tuning]"
	touch $@

.venv/.installed-bench: .venv/.installed
	.venv/bin/python -m pip install -q -c constraints.txt -e ".[dev,bench,all-envs]"
	touch $@

.venv/.installed-envs: .venv/.installed
	.venv/bin/python -m pip install -q -c constraints.txt -e ".[dev,all-envs,notebook,plots]"
	touch $@
