# make demo   everything set up, the cluster brought up, a storyboard played   (ARGS=--once: then exit)
# make test   everything set up, all tests
# make help   the rest

PYTHON ?= python3
BIN    := .venv/bin
PIP     = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS   ?=

.PHONY: help setup setup-test clients demo serve check test test-fast bench proto clean

help:
	@sed -n 's/^# //p' Makefile; grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.demo ## the environment that `demo` and `serve` need
setup-test: .venv/.test ## and what the tests need in Python

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("CPython 3.11 or newer is needed: set PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[demo]'
	@touch $@

.venv/.test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[demo,dev]'
	@touch .venv/.demo $@

demo: .venv/.demo ## play the storyboard
	$(BIN)/longlive-cluster demo $(ARGS)

serve: .venv/.demo ## serve on port 8080 (ARGS="--port 9000")
	$(BIN)/longlive-cluster serve $(ARGS)

# --- the published clients: a browser, an npm package, and an older SDK in an environment of its own

JS := tests/clients/js290
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

clients: .venv-reactor-0.8/.ready $(JS)/dist/.ready chromium ## the clients that the tests drive

.venv-reactor-0.8/.ready: tests/clients/py08-requirements.txt
	$(PYTHON) -m venv .venv-reactor-0.8
	.venv-reactor-0.8/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(JS)/dist/.ready: $(JS)/package-lock.json $(wildcard $(JS)/*.js $(JS)/*.mjs $(JS)/*.html) | npm
	cd $(JS) && npm ci --silent && npm run --silent build
	@touch $@

.PHONY: chromium npm
chromium:
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory apt PACKAGES=chromium
npm:
	@command -v npm >/dev/null || $(MAKE) --no-print-directory apt PACKAGES='nodejs npm'

# Debian starts coturn when it is installed; the tests start their own.
.PHONY: turn
turn:
	@command -v ip >/dev/null || $(MAKE) --no-print-directory apt PACKAGES=iproute2
	@command -v turnserver >/dev/null || { $(MAKE) --no-print-directory apt PACKAGES=coturn \
		&& { $(AS_ROOT) systemctl disable --quiet --now coturn 2>/dev/null || true; }; }

.PHONY: apt
apt:
	@command -v apt-get >/dev/null || { echo "$(PACKAGES) is needed and there is no apt-get: install it by hand"; exit 1; }
	$(AS_ROOT) apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $(AS_ROOT) apt-get install -y -qq $(PACKAGES) >/dev/null

# --- habits

check: .venv/.test ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: .venv/.test clients turn check ## all tests
	$(BIN)/pytest

test-fast: .venv/.test ## the tests that need neither peers, Ray nor a browser, in under a minute
	$(BIN)/pytest -m fast -n 2

bench: .venv/.test ## the benchmark of a session (ARGS="--minutes 10")
	$(BIN)/python benchmarks/session.py $(ARGS)

proto: .venv/.test ## regenerate the protobuf module
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. wire/reactor_wire.proto

clean: ## everything that make made
	rm -rf .venv .venv-reactor-0.8 $(JS)/node_modules $(JS)/dist build out demo.mp4 demo.png
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
