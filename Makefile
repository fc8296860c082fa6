# make run tries it out, make test proves it. `make help` lists the rest.
PYTHON ?= python3
LISTEN ?= 127.0.0.1:8080
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test test-quick test-long fuzz cluster format lint audit pictures bench stress dist clean

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

run: $(VENV)/.run ## Try it: pool, webhook and dashboard on SQLite with the Python example bot
	@exec env BOT_LEGACY_PATH=../examples/bot.py BOT_DATA_DIR=../.cache/run $(BIN)/python scalable/worker_pool.py --serve $(LISTEN)

test: $(VENV)/.dev ## Everything, on real servers; installs what is missing where it may
	$(BIN)/python tests/install.py
	@# Three on two processors, because a third of the time is waiting; the longest files first, see tests/conftest.py.
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-quick: $(VENV)/.dev ## Only what needs no server and no process: under 20 seconds
	@# Four, because half of the time is waiting. Compiling the tests anew would take a third of it: that is kept.
	PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.cache/pycache QUICK_TESTS=1 \
		$(BIN)/python -m pytest --numprocesses 4 --dist worksteal tests/unit

test-long: $(VENV)/.dev ## The tests of chance and load, at their full size: three quarters of an hour
	$(BIN)/python tests/install.py
	LONG_TESTS=1 $(BIN)/python -m pytest -s tests/contract/test_queue_model.py tests/contract/test_lane_races.py \
		tests/integration/test_worker_chaos.py tests/stress

fuzz: $(VENV)/.dev ## Everything that is read from outside, given twenty times as many inputs of chance as in `make test`
	$(BIN)/python tests/install.py
	LONG_TESTS=1 timeout --foreground 1800 $(BIN)/python -m pytest --numprocesses 2 tests/fuzz \
		tests/integration/test_dashboard_hostile.py

cluster: $(VENV)/.dev ## Three hosts on a MariaDB Galera cluster, each node killed in turn: under 10 minutes
	$(BIN)/python tests/install.py --only galera-4 mariadb-server-core
	LONG_TESTS=1 $(BIN)/python -m pytest -s tests/integration/test_galera.py tests/integration/test_galera_rules.py

format: $(VENV)/.dev ## Lay the code out: ruff format, and what ruff can put right by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## ruff (layout and rules), mypy and bandit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive scalable examples tools

audit: $(VENV)/.audit ## Known holes in what is shipped and used; asks the package index
	$(VENV)/audit/bin/pip-audit --strict --requirement requirements.txt

pictures: $(VENV)/.dev ## Take the pictures of the README anew
	$(BIN)/python tests/install.py
	$(BIN)/python -m tests.browser.pictures

bench: $(VENV)/.bench ## Speed on a MariaDB and PHP of its own, as ratios, with charts; about 15 minutes, 20 at most
	$(BIN)/python tests/install.py
	@timeout --foreground --kill-after=20 1200 $(BIN)/python -m benchmarks --save benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks.charts benchmarks/RESULTS.md docs

stress: $(VENV)/.dev ## Chaos on real parts, 100,000 updates, judged at the end; as root, about 15 minutes, 20 at most
	$(BIN)/python tests/install.py
	@SEED=$(SEED) UPDATES=$(UPDATES) timeout --foreground --kill-after=20 1200 $(BIN)/python -m tests.stress

dist: $(VENV)/.run ## The release: a zip in dist/ that needs no pip where it is unpacked
	@$(BIN)/python tools/dist.py

clean: ## Forget the virtual environment and everything downloaded or made by tests
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
		{ echo "Python 3.9 or newer is needed; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/.run: $(VENV)/bin/python requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.audit: $(VENV)/bin/python
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@
