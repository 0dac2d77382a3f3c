# SPDX-License-Identifier: Apache-2.0
#
# On a fresh Debian 12 machine with Rust, each target installs what it lacks (packages/*.txt, tests/PACKAGES);
# make test also what tests/requirements.txt names, in a Python environment of its own below the target directory.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

CARGO ?= cargo
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)

# The binary that ships, and that every end-to-end test and measurement runs.
BIN := $(TARGET_DIR)/$(HOST)/release/flowgauge
export FLOWGAUGE_BIN := $(BIN)

# Running the exporter, and most tests, takes root. Cargo itself never runs as root on account of this file: it starts the
# finished programs through its runner.
ROOT := $(shell [ "$$(id -u)" = 0 ] || command -v sudo || echo no)
ifeq ($(ROOT),no)
need-root = @echo "make $@: root is needed to load BPF programs and to make network namespaces; run it as root or install sudo" >&2; exit 1
else
need-root = @:
endif
RUNNER := $(if $(ROOT),env CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUNNER="$(ROOT) -E")

C_FILES = $(filter-out %vmlinux.h,$(wildcard probes/bpf/*.c probes/bpf/*.h))
SCRIPTS = .ci/run $(wildcard packages/*.sh tests/kernels/*.sh tests/kernels/init)
INSTALL := packages/install.sh

# Python programs that tests run.
PYTHON_DIR := $(TARGET_DIR)/python
export FLOWGAUGE_TEST_PYTHON := $(PYTHON_DIR)

.PHONY: help run build demo test test-kernels bench soak lint docs alerts dashboards check-dashboards pictures chart deny clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

run: ## build it, and run it on :10950 (ARGS="--flag …" are passed on)
	$(need-root)
	@$(MAKE) --no-print-directory build
	$(ROOT) $(BIN) $(ARGS)

build: ## one static release binary
	@[ -n "$(HOST)" ] || { echo "make $@: no rustc here; install Rust (https://rustup.rs)" >&2; exit 1; }
	@$(INSTALL) packages/build.txt
	RUSTFLAGS="$(RUSTFLAGS) -C target-feature=+crt-static" $(CARGO) build --release --package flowgauge --target $(HOST)
	@echo "built $(BIN)"

test: ## lint, unit tests, end-to-end tests, kernel matrix
	$(need-root)
	@$(INSTALL) packages/*.txt $(wildcard tests/PACKAGES)
	@packages/python.sh tests/requirements.txt $(PYTHON_DIR)
	@$(MAKE) --no-print-directory lint build
	$(RUNNER) $(CARGO) test --workspace --no-fail-fast

test-kernels: ## the TCP collector under Debian's 6.1 and 6.12 kernels
	@$(INSTALL) packages/build.txt packages/kernels.txt
	@$(MAKE) --no-print-directory build
	$(CARGO) test --package flowgauge-tests --test kernels -- --nocapture

demo: ## a small shop on this machine, watched and alerted on, and things to break in it (ARGS="--for=1h")
	$(need-root)
	@$(INSTALL) packages/build.txt packages/demo.txt
	@$(MAKE) --no-print-directory build
	$(CARGO) build --quiet --package flowgauge-tests --bins
	$(RUNNER) $(CARGO) run --quiet --package flowgauge-tests --bin fg-demo -- $(ARGS)

bench: ## the cost table
	$(need-root)
	@$(INSTALL) packages/build.txt packages/bench.txt
	@$(MAKE) --no-print-directory build
	$(RUNNER) $(CARGO) run --release --package flowgauge-tests --bin fg-bench -- $(ARGS)
	$(CARGO) bench --quiet --package flowgauge-labels

soak: ## ten minutes under everything that comes and goes (ARGS="MINUTES")
	$(need-root)
	@$(INSTALL) packages/build.txt tests/PACKAGES
	@$(MAKE) --no-print-directory build
	$(CARGO) build --release --package flowgauge-tests
	$(RUNNER) $(CARGO) run --release --package flowgauge-tests --bin fg-soak -- $(ARGS)

lint: check-dashboards ## formatting, clippy, shell scripts, dashboards, generated docs, alerts
	@$(INSTALL) packages/build.txt packages/lint.txt
	$(CARGO) fmt --all --check
	$(if $(C_FILES),clang-format --dry-run --Werror $(C_FILES))
	shellcheck $(SCRIPTS)
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) run --quiet --package flowgauge -- docs | diff --unified docs/metrics.md - \
		|| { echo "docs/metrics.md is not what the code says: make docs"; exit 1; }
	alerts/generate.py --check
	promtool check rules --lint=all --lint-fatal alerts/rules/*.yaml
	promtool test rules alerts/tests/*.yaml
	amtool check-config alerts/alertmanager.example.yaml

docs: ## docs/metrics.md, from the code
	@$(INSTALL) packages/build.txt
	$(CARGO) run --quiet --package flowgauge -- docs > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md

alerts: ## alerts/rules and docs/alerts.md, from alerts/templates and alerts/thresholds.yaml
	alerts/generate.py

dashboards: ## dashboards/*.json, from dashboards/src
	python3 dashboards/src/build.py

check-dashboards:
	python3 dashboards/src/build.py --check
	@command -v npm >/dev/null || $(INSTALL) dashboards/check/PACKAGES
	@npm --prefix dashboards/check ci --silent --no-audit --no-fund
	@npm --prefix dashboards/check run --silent check

pictures: ## docs/pictures: the dashboards, drawn from what their queries bring in a test
	$(need-root)
	@$(INSTALL) packages/*.txt $(wildcard tests/PACKAGES) dashboards/pictures/PACKAGES
	@$(MAKE) --no-print-directory build
	FLOWGAUGE_PICTURES=$(TARGET_DIR)/pictures.json $(RUNNER) $(CARGO) test --package flowgauge-tests --test dashboards every_query
	python3 dashboards/pictures/draw.py $(TARGET_DIR)/pictures.json docs/pictures

chart: ## charts/flowgauge's copies of alerts and dashboards, its table of values, contrib/kubernetes/flowgauge.yaml
	@packages/python.sh tests/requirements.txt $(PYTHON_DIR)
	$(PYTHON_DIR)/bin/python charts/generate.py

deny: ## licences and banned crates of the dependency tree
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	$(CARGO) deny --all-features check bans licenses sources

clean: ## remove what was built
	$(CARGO) clean
