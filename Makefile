# Two commands set everything up on a fresh machine: `make bench` and `make test`.
# Both create .venv and install the pinned requirements when needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
PRESET ?= cifar10-small
OUT ?= out
TABLES := --tables 2,3,4,5,other --figures 1,4,cost --devices

.DEFAULT_GOAL := help
.PHONY: help bench report test test-all test-isa lint format docs reproduce clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fofa needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned requirements into $(VENV) (about two minutes the first time)"
	@$(BIN)/python -m pip uninstall -qq -y fofa  # as this was called, and a stranger's package is
	@$(BIN)/python -m pip install -q --disable-pip-version-check --progress-bar on \
		-c constraints.txt -e '.[dev,tensorrt-rtx]'
	@touch $@

bench: $(READY)  ## profile this CPU, make every table and figure with it, write all to out/
	$(BIN)/fofa-profile --device epyc7763 --out $(OUT)/luts/epyc.json
	$(BIN)/fofa-bench $(TABLES) --lut $(OUT)/luts/epyc.json --out $(OUT)/reports
	@echo "this machine's latency table: $(OUT)/luts/epyc.json; the report: $(OUT)/reports/report.html"

report: $(READY)  ## profile this CPU and write the committed luts/epyc.json and reports/ anew
	$(BIN)/fofa-profile --device epyc7763 --out luts/epyc.json
	$(BIN)/fofa-bench $(TABLES) --out reports

test: lint  ## ruff, types and the test suite (under 15 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS) -m 'not slow'

test-all: lint  ## the same with the slow tests: kills, fuzzing, many processes
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS)

# The variables stand in for CPUs without AVX-512 and without AVX2. Everything is tested but the
# folders that compute no network, so that a new test is in unless somebody leaves it out.
test-isa: $(READY)  ## the numeric tests as on older CPUs, with one and two threads
	@for isa in default:SSE41 avx2:AVX2; do for threads in 1 2; do \
		echo "torch: $${isa%:*}, oneDNN: $${isa#*:}, threads: $$threads"; \
		ATEN_CPU_CAPABILITY=$${isa%:*} ONEDNN_MAX_CPU_ISA=$${isa#*:} \
			OMP_NUM_THREADS=$$threads OMP_WAIT_POLICY=passive \
			$(BIN)/pytest -q -n $(JOBS) -m 'not slow' tests \
			--ignore=tests/bench --ignore=tests/reliability || exit 1; \
	done; done

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## the documentation as a site in build/site; a broken link fails
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	rm -rf build/pages build/site && mkdir -p build/pages/reports
	cp -r README.md CONTRIBUTING.md LICENSE docs build/pages
	cp -r reports/report.md reports/report.html reports/figures reports/pretrained build/pages/reports
	$(BIN)/zensical build --clean --strict
	@echo "open build/site/index.html"

reproduce: $(READY)  ## train and evaluate every recipe: make reproduce PRESET=cifar10
	$(BIN)/fofa-reproduce --preset $(PRESET) --download

clean:  ## remove .venv and caches; results stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
