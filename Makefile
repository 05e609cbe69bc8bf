# The two commands a new user needs: `make demo` and `make test`. Both install what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_HOME ?= $(CURDIR)/demo
# Tests start many processes; without bytecode on disk, each of them compiles the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo ui test test-slow lint format bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medassets needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Synthetic data laid out like CT-RATE and CLIP4MC, and the whole way to shards through Dagster.
demo: install
	MEDASSETS_HOME=$(DEMO_HOME) $(BIN)/medassets demo demo_video
	MEDASSETS_HOME=$(DEMO_HOME) $(BIN)/medassets demo demo_ct

# The Dagster UI on what `make demo` made, at http://127.0.0.1:3000.
ui: install
	MEDASSETS_HOME=$(DEMO_HOME) $(BIN)/medassets up

# Everything that needs no server, daemon or process of Dagster. More processes than cores, because
# many tests wait for others.
test: install
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow"

# The rest: whole builds, Dagster's processes, servers and daemons, kills, real volumes at full
# size, 50,188 rows. Run it after any change to the writer, the ledger, staging or the UI. Limits of
# time only end what hangs: a busy machine may be several times slower.
test-slow: install
	$(BIN)/python -m pytest -n 4 --dist worksteal -m slow -o timeout=1500

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	$(BIN)/medassets validate
	$(BIN)/dg check yaml
	$(BIN)/dg check defs
	$(BIN)/dagster definitions validate -w workspace.yaml

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Prints the tables of docs/benchmarks.md; needs the peers, which users never install.
bench: install
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt '.[bench]'
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(DEMO_HOME) build dist *.egg-info
