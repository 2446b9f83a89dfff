# Everything on a fresh machine with Python 3.11: `make demo`, `make test`, and the official
# converters in an environment of their own, 4 GB of it: `make test-exporters`.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt
EXPORTERS := .venv-exporters
TFLITE := .venv-tflite

.PHONY: install demo test test-exporters check bench bench-exporters clean

install: $(VENV)/.installed
demo: install
	$(BIN)/hilnas demo --out demo

test: $(VENV)/.installed-test $(TFLITE)/.installed check
	$(BIN)/pytest

test-exporters: $(EXPORTERS)/.installed
	$(EXPORTERS)/bin/pytest -p no:anyio tests/official  # whose plugin is older than pytest

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All but parts of others, and what needs a folder of recordings or hours: see docs/figures.md
NO_BENCH := accel_surrogates additive calibration_choice claim drift emulated exporters_compared interval_coverage \
	new_device phone_fault_cases proxy_training recorded row_intervals searcher_overhead

bench: $(VENV)/.installed-test
	for name in $(filter-out $(NO_BENCH),$(notdir $(basename $(wildcard benchmarks/[a-z]*.py)))); do \
		$(BIN)/python -m benchmarks.$$name || exit 1; done

bench-exporters: $(EXPORTERS)/.installed
	$(EXPORTERS)/bin/python -m benchmarks.exporters_compared

clean:
	rm -rf $(VENV) $(EXPORTERS) $(TFLITE) build *.egg-info

%/bin/python:
	$(PYTHON) -m venv $*

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[search,int8,adb,ssh]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --editable '.[search,int8,adb,ssh,test]'
	touch $@

$(EXPORTERS)/.installed: setup.cfg pyproject.toml constraints-exporters.txt | $(EXPORTERS)/bin/python
	$(EXPORTERS)/bin/pip install --quiet --constraint constraints-exporters.txt \
		--editable '.[search,test,litert-torch]' tensorflow-cpu
	touch $@

# The runtime that boards of some years have; it wants NumPy 1, so an environment of its own
$(TFLITE)/.installed: | $(TFLITE)/bin/python
	$(TFLITE)/bin/pip install --quiet tflite-runtime==2.14.0 'numpy <2' \
		|| echo "tflite-runtime 2.14 cannot be had here: its tests will be skipped"
	touch $@
