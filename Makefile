# Every target sets up what it needs and ends with one line that says what it found.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
READY := $(VENV)/.ready

# Container images often set it; then each start compiles Airflow and LanceDB again, seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-models test-quality test-quality-encoders test-quality-pipeline \
  test-sources test-airflow test-demo test-gpu crash mutation soak stack stack-test check ci-all format lock clean

help:
	@echo "make demo          real texts and photos through Airflow into searchable tables"
	@echo "make test          the test suite (minutes)"
	@echo "make check         lint, types, import directions"
	@echo "make test-sources  a thousand tables, files that inflate, mutated collection files"
	@echo "make test-models   encoders of every kind, loaded one after the other"
	@echo "make test-quality  real models on real data with known answers"
	@echo "make test-airflow  whole DAG runs"
	@echo "make test-demo     the demo, three times"
	@echo "make test-gpu      the same vectors on a GPU"
	@echo "make crash         a kill and an error at every write, damage, crowds"
	@echo "make stack         Airflow with PostgreSQL, Redis and Celery, here, without Docker"
	@echo "make stack-test    schedule, backfills and kills in such a stack"
	@echo "make mutation      seventy small faults in the code; tests must notice nine of ten"
	@echo "make soak          2,000 runs in one process"
	@echo "make ci-all        all of them but the GPU's, in two lanes"
	@echo "make setup         the environment only"

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.13"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
	@echo "setup: ready in $(VENV)"

demo: $(READY)
	@$(BIN)/commonspace demo

# What loads PyTorch or Airflow is played by one process beside those that play the rest, which so
# never import them. A process that has memory keeps it; the warehouses lie in memory where there
# is enough of it, so that no test waits for a disk.
SHM := $(shell df --output=avail /dev/shm 2>/dev/null | awk 'NR > 1 && $$1 > 4e6 {print "/dev/shm"}')
FAST := not (models or quality or sources or crash or airflow or demo or gpu or soak or stack)
HEAVY := tests/dags tests/encoders tests/pipeline/run/test_odd_texts.py \
  tests/pipeline/run/test_unknown_texts.py
test: export TMPDIR := $(or $(TMPDIR),$(SHM))
test: export MALLOC_TRIM_THRESHOLD_ = 1000000000
test: export MALLOC_MMAP_THRESHOLD_ = 1000000000
test: $(READY)
	@heavy=$$(mktemp); trap 'kill $$!; rm -f $$heavy' INT TERM; \
	$(BIN)/python -m pytest -m "$(FAST)" $(HEAVY) $(ARGS) > $$heavy 2>&1 & \
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "$(FAST)" \
	  tests $(HEAVY:%=--ignore=%) $(ARGS); \
	rest=$$?; wait $$!; code=$$?; cat $$heavy; rm -f $$heavy; \
	test $$rest = 0 -o $$rest$$code = 50 && test $$code = 0 -o $$rest$$code = 05

test-models: $(READY)
	@$(BIN)/python -m pytest -m "models and not quality" $(ARGS)

test-quality: $(READY)
	@$(BIN)/python -m pytest -m quality $(ARGS)

# As two suites for CI: what covers a folder of one need not wait for the other.
test-quality-encoders test-quality-pipeline: $(READY)
	@$(BIN)/python -m pytest -m quality tests/$(@:test-quality-%=%) $(ARGS)

test-sources: $(READY)
	@$(BIN)/python -m pytest -m sources $(ARGS)

test-airflow: $(READY)
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m airflow $(ARGS)

test-demo: $(READY)
	@$(BIN)/python -m pytest -m demo $(ARGS)

test-gpu: $(READY)
	@$(BIN)/python -m pytest -m gpu -rs $(ARGS)

crash: $(READY)
	@$(BIN)/python -m pytest -m crash $(ARGS)

mutation: $(READY)
	@$(BIN)/python -m tests.mutation $(ARGS)

soak: $(READY)
	@$(BIN)/python -m pytest -m soak $(ARGS)

# The servers' binaries come with the lock; ARGS="--executor local", for example.
stack: $(READY)
	@$(BIN)/python -m infra.stack $(ARGS)

stack-test: $(READY)
	@$(BIN)/python -m pytest -m stack --durations 0 --durations-min 1 $(ARGS)

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=dags $(BIN)/lint-imports
	@echo "check: lint, format, types and import directions are clean"

ci-all:
	@.ci/run --all

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Hashes of every distribution, no index address: any registry mirror serves it.
lock: $(READY)
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --all-extras --group dev --group servers pyproject.toml -o requirements.lock
	@for image in "control:" "worker:--extra encoders"; do \
	  $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --extra airflow --extra stack --extra lineage --extra metrics $${image#*:} \
	    --constraint requirements.lock pyproject.toml -o infra/docker/$${image%%:*}.lock || exit 1; \
	done

clean:
	rm -rf $(VENV) demo stack .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf .infinity_cache benchmarks/.cache benchmarks/.peers
