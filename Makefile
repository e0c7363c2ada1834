# Two commands do all the set-up: `make demo` and `make test`. Both make their own .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
NAME   ?= score kill

.PHONY: install demo test lint bench clean lock
.DEFAULT_GOAL := help

help:
	@echo "make demo     a fleet of agents, one hijacked, killed in milliseconds   (ARGS='--once --json')"
	@echo "make test     the whole test suite                                      (ARGS='-k kill')"
	@echo "make lint     ruff and mypy --strict"
	@echo "make bench    the benchmarks                                            (NAME='score kill')"
	@echo "make install  only the environment, with the killcord command in $(BIN)"
	@echo "make clean    remove the environment and everything that was generated"
.PHONY: help

install: $(VENV)/.daemon

demo: $(VENV)/.daemon
	@$(BIN)/killcord demo $(ARGS)

# On CI machines (CI is set) a browser is installed too; elsewhere the browser tests use what is there.
test: $(VENV)/.dev
	@[ -z "$$CI" ] || sh tests/install-browser.sh
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	@for name in $(NAME); do $(BIN)/python -m benchmarks.$$name --json $(ARGS) || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Not part of everyday work: pins every dependency anew. The lock files hold versions and hashes, no addresses.
PIN = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
      --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet
lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 2; }
	$(PIN) --upgrade --extra daemon --extra notify --extra cluster --group dev -o requirements-dev.lock
	$(PIN) --extra daemon --group build -c requirements-dev.lock -o requirements.lock

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Killcord needs Python 3.11 or newer as '$(PYTHON)'; name another with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>$(VENV).err && rm -f $(VENV).err || { \
	  cat $(VENV).err; rm -rf $(VENV) $(VENV).err; \
	  echo "Could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# The lock files name everything, so nothing is left to resolve. Left to it, pip goes by the newest release wherever a
# dependency names an extra, and then refuses it for want of a hash.
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-virtualenv

$(VENV)/.daemon: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing Killcord and its pinned dependencies into $(VENV) (about a minute, once) ..."
	@$(PIP) --require-hashes --no-deps -r requirements.lock || { echo "The dependencies could not be installed; is the package index reachable?"; exit 1; }
	@$(PIP) --no-deps --no-build-isolation -e .
	@echo "Compiling the detectors' kernel (once) ..."
	@$(BIN)/python -c "from detectors import warm_up; warm_up()"
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.daemon
	@echo "Installing the test tools into $(VENV) ..."
	@$(PIP) --require-hashes --no-deps -r requirements-dev.lock || { echo "The test tools could not be installed; is the package index reachable?"; exit 1; }
	@touch $@
