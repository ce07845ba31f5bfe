# `make demo` shows what the package does, `make test` checks it. Both set up .venv themselves and can be repeated.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-full test-long coverage lint types contract notebooks proof bench bench-all bench-gpu build audit clean

help:
	@echo "make demo       set up, then search an image gallery by text in many languages, offline"
	@echo "make test       set up, then run the test suite"
	@echo "make test-full  the tests at the models' published sizes (5 GB on disk, 7 GB of memory)"
	@echo "make test-long  mutants, kills and soaks in five times the numbers of make test, and what takes minutes"
	@echo "make coverage   the test suite with branch coverage; fails below the gate in pyproject.toml"
	@echo "make lint       ruff: style, imports, formatting; import-linter: which package may import which"
	@echo "make types      mypy: strict over the package, checked over tests and tools"
	@echo "make contract   what frameworks and services ask, and the tests that answer"
	@echo "make notebooks  execute every notebook and check that it runs"
	@echo "make proof      measure the models against the golden vectors, tensor lists and recall figures"
	@echo "make bench      the speed of both models on this processor: against the published computation, by kind of work (half an hour at most)"
	@echo "make bench-all  make bench, and curves by batch and length, ONNX, pipeline, overhead, memory, remote services (an hour more)"
	@echo "make bench-gpu  both models on one NVIDIA GPU, within nine minutes (GPU_PYTHON=python3: with the torch that is installed)"
	@echo "make build      wheel, source archive and a CycloneDX list of what they depend on in dist/, the same bytes every time"
	@echo "make audit      ask for known vulnerabilities of what is installed; says so where they cannot be asked"
	@echo "make clean      remove .venv and caches"

demo:
	$(PYTHON) tools/bootstrap.py demo
	$(BIN)/jina-clip demo

test: .setup-test
	$(BIN)/python -m pytest

test-full: .setup-test
	$(BIN)/python -m pytest -m full_size

test-long: .setup-test
	$(BIN)/python -m pytest -m "not full_size" --effort 5 tests/fuzz tests/failures

coverage: .setup-test
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

lint: .setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .setup-test
	$(BIN)/mypy

contract: .setup-test
	$(BIN)/python tools/contract.py

notebooks: .setup-test
	$(BIN)/python tools/run_notebooks.py notebooks

.PHONY: .setup-test
.setup-test:
	$(PYTHON) tools/bootstrap.py test

proof: .setup-test
	$(BIN)/python benchmarks/proof.py

# Prints every table and writes nothing; `BENCH_OPTIONS=--write` keeps the reports in benchmarks/results.
BENCH := native native@--version@v1 breakdown kernel_choice
BENCH_REST := local_text local_image onnx_v1 pipeline overhead memory remote
bench: RUN := $(BENCH)
bench-all: RUN := $(BENCH) $(BENCH_REST)

bench bench-all:
	$(PYTHON) tools/bootstrap.py bench
	@for run in $(RUN); do \
		set -- $$(echo $$run | tr @ ' '); name=$$1; shift; \
		$(BIN)/python benchmarks/$$name.py "$$@" $(BENCH_OPTIONS) || exit 1; \
	done

# With GPU_PYTHON nothing is installed: on a machine without a network, whose Python has torch and transformers.
bench-gpu:
	$(if $(GPU_PYTHON),,$(PYTHON) tools/bootstrap.py bench)
	PYTHONPATH=. $(or $(GPU_PYTHON),$(BIN)/python) benchmarks/gpu.py $(BENCH_OPTIONS)

build: .setup-test
	$(BIN)/python tools/build.py

audit: .setup-test
	$(BIN)/python tools/audit.py $(AUDIT_OPTIONS)

clean:
	rm -rf .venv .venv-lowest .coverage .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
