# `make demo` shows what the package does, `make test` checks it. Both set up .venv themselves and can be repeated.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint types notebooks proof bench clean

help:
	@echo "make demo       set up, then search an image gallery by text in many languages, offline"
	@echo "make test       set up, then run the test suite"
	@echo "make lint       ruff: style, imports, formatting"
	@echo "make types      mypy --strict over the package"
	@echo "make notebooks  execute every notebook and check that it runs"
	@echo "make proof      measure the models against the golden vectors, tensor lists and recall figures"
	@echo "make bench      measure this machine: texts, images, profile, kernels, ONNX, pipeline, overhead, memory, remote (an hour)"
	@echo "make clean      remove .venv and caches"

demo:
	$(PYTHON) tools/bootstrap.py demo
	$(BIN)/jina-clip demo

test: .setup-test
	$(BIN)/python -m pytest

lint: .setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .setup-test
	$(BIN)/mypy

notebooks: .setup-test
	$(BIN)/python tools/run_notebooks.py notebooks

.PHONY: .setup-test
.setup-test:
	$(PYTHON) tools/bootstrap.py test

proof: .setup-test
	$(BIN)/python benchmarks/proof.py

# Prints every table and writes nothing; `BENCH_OPTIONS=--write` keeps the reports in benchmarks/results.
BENCHMARKS := local_text local_image breakdown kernel_choice onnx_v1 pipeline overhead memory remote

bench:
	$(PYTHON) tools/bootstrap.py bench
	@for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py $(BENCH_OPTIONS) || exit 1; done

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
