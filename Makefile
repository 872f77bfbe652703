# `make` lists the targets. `make run` and `make test` work from a fresh clone; the first one sets up .venv.
# Another interpreter: make PYTHON=python3.13 run

PYTHON ?= python3

BIN := .venv/bin
DEMO := data/demo.db

# Demos and tests see none of the caller's settings or keys and read no .env: the rules trade, on paper, and
# an unset MARKET means the simulated one.
SEALED := env -i PATH="$$PATH" HOME="$$HOME" LANG="$${LANG:-C.UTF-8}" TERM="$${TERM:-dumb}" \
	$${TMPDIR:+TMPDIR="$$TMPDIR"} $${NO_COLOR:+NO_COLOR="$$NO_COLOR"} $${CI:+CI="$$CI"} \
	AGENTS=rules MODE=paper TRADER_ENV_FILE=none
TRADER := $(SEALED) DB_PATH=$(DEMO) $(BIN)/trader --env-file none

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test cover check fmt bench docs soak lock audit clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.stamp ## trade a short paper session: no network, no key, a new demo ledger each time
	@mkdir -p data
	@rm -f $(DEMO)*
	@echo '$$ trader loop --cycles 12 --speed fast'
	@$(TRADER) loop --cycles 12 --speed fast
	@echo '$$ trader ledger show'
	@$(TRADER) ledger show
	@echo
	@echo 'Try next:  . $(BIN)/activate; export DB_PATH=$(DEMO) AGENTS=rules'
	@echo '  trader cycle               one more cycle'
	@echo '  trader ledger trace last   what it saw, decided and did'
	@echo '  trader status              where it stands'
	@echo '  trader plan --dry-run      what it would plan now; writes nothing'

# A worker more than there are cores: a third of the tests waits for processes, servers and time-outs.
WORKERS = $$($(BIN)/python -c 'import os; print(1 + (os.cpu_count() or 1))')

test: check ## check, then all tests but the long ones
	@$(SEALED) $(BIN)/python -m pytest -n "$(WORKERS)" --dist worksteal

# Apart from the tests themselves: tracing takes half as much time again.
cover: .venv/.stamp ## the same tests, and which lines they reach
	@$(SEALED) $(BIN)/coverage erase
	@$(SEALED) $(BIN)/coverage run -m pytest -n "$(WORKERS)" --dist worksteal
	@$(SEALED) $(BIN)/coverage combine -q
	@$(SEALED) $(BIN)/coverage report

check: .venv/.stamp ## style, format, types and who may import whom
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fmt: .venv/.stamp ## format, and mend what can be mended
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format .

bench: .venv/.stamp ## measure, and write docs/benchmarks.md
	@$(SEALED) $(BIN)/python -m tests.bench

docs: .venv/.stamp ## write docs/cli.md and docs/session.svg anew
	@$(SEALED) _TYPER_FORCE_DISABLE_TERMINAL=1 COLUMNS=80 $(BIN)/python -m tests.docs

soak: .venv/.stamp ## the long tests: kills, many seeds, long loops
	@$(SEALED) $(BIN)/python -m pytest -m soak --timeout 3600

# constraints.txt pins runtime and dev packages for every supported Python and platform, with the hash of each
# file and no index address. Run this after a change of dependencies in pyproject.toml, or to take newer releases.
lock: ## pin the newest allowed versions again in constraints.txt
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	uv=$$(command -v uv || { $(PYTHON) -m venv "$$tmp/uv" && "$$tmp/uv/bin/pip" install -q uv && echo "$$tmp/uv/bin/uv"; }) && \
	"$$uv" pip compile -q --universal --python-version 3.11 --extra dev --upgrade --generate-hashes --no-header \
		--no-annotate --output-file "$$tmp/pins" pyproject.toml && \
	{ echo '# Made by `make lock` from pyproject.toml (runtime and dev).'; cat "$$tmp/pins"; } > constraints.txt

# A list of the network's is asked; the tool is not among what the project installs.
audit: ## look the pinned versions up among known vulnerabilities
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && $(PYTHON) -m venv "$$tmp" && \
	"$$tmp/bin/pip" install -qq --disable-pip-version-check pip-audit && \
	"$$tmp/bin/pip-audit" --strict --disable-pip --require-hashes -r constraints.txt

clean: ## remove .venv, caches and the demo ledger
	@rm -rf .venv build dist htmlcov .coverage .coverage.* $(DEMO)*
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find trader_cli tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The pinned set first (it holds the build backend), then the project itself, from the checkout.
.venv/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "trader needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
			"Name another: make PYTHON=python3.13 $(or $(MAKECMDGOALS),run)" >&2; exit 1; }
	@echo 'Setting up .venv (once; by pip about a minute)'
	@if command -v uv >/dev/null 2>&1; then \
		{ $(BIN)/python -c '' 2>/dev/null || uv venv -q --clear --python "$(PYTHON)" .venv; } && \
		uv pip install -q --python $(BIN)/python --compile-bytecode --require-hashes -r constraints.txt && \
		uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		{ $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { rm -rf .venv; \
			echo 'No venv for $(PYTHON). On Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }; } && \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r constraints.txt && \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@$(BIN)/python -m pip check >/dev/null || { \
		echo 'constraints.txt does not fit pyproject.toml: make lock' >&2; exit 1; }
	@touch $@
