# Everything a user or a developer types. `make demo` and `make test` set up .venv by themselves.
PYTHON ?= python3.11
BIN    := .venv/bin
# The CPU build of torch is the default; `make demo TORCH=cuda` takes the build with CUDA.
TORCH  ?= cpu
STAMP  := .venv/installed-$(TORCH)
DEV    := .venv/installed-dev
DEMO_OUT ?= outputs/demo

.PHONY: demo demo-small test test-slow lint types bench bench-gpu setup clean help

help:
	@echo "make demo     the embedded sweep: pool to Pareto report, in minutes (writes $(DEMO_OUT))"
	@echo "make test     the tests        make test-slow   those that take minutes"
	@echo "make lint     ruff             make types       mypy on harness/"
	@echo "make bench    speed and memory, as ratios within one run (about 20 minutes)"
	@echo "make bench-gpu  the pass over a pool at an 8B model's shape, on a GPU"
	@echo "TORCH=cuda    install the CUDA build of torch instead of the CPU one"

setup: $(DEV)

$(STAMP): pyproject.toml constraints.txt tools/install.py
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python tools/install.py --torch $(TORCH)
	@touch $@

# What tests, types and style need besides; the demo does without.
$(DEV): $(STAMP)
	@$(BIN)/python tools/install.py --torch $(TORCH) --extra dev
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m harness experiment=demo_reference out=$(DEMO_OUT)
	@$(BIN)/python -m harness experiment=demo out=$(DEMO_OUT)

demo-small: $(STAMP)
	@$(BIN)/python -m harness experiment=demo_small

# One thread a test, two tests at a time: the models are tiny, and two threads wait for each other.
test test-slow: export OMP_NUM_THREADS ?= 1
TESTS_AT_ONCE ?= 2

test: $(DEV)
	@$(BIN)/python -m pytest -m "not slow" -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder

test-slow: $(DEV)
	@$(BIN)/python -m pytest -m slow

lint: $(DEV)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(DEV)
	@$(BIN)/mypy

bench: $(DEV)
	@$(BIN)/python -m tests.benchmarks

bench-gpu: $(DEV)
	@$(BIN)/python -m tests.benchmarks gpu

clean:
	rm -rf .venv outputs build dist *.egg-info
