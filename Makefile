# Each target is one thing that a working day asks for; `make` lists them.

SHELL := /bin/bash
CARGO ?= cargo
# An existing CARGO_TARGET_DIR is respected, as cargo itself does.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# `make run PROFILE=release` builds longer and runs faster.
PROFILE ?= dev
OUT := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# Extra words for the program or the test runner: `make test ARGS=cluster`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test bench smoke-vz_sync lint fmt deny deps ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: deps ## Build and start the demo: database, platform simulator, pipeline, API (data in .demo)
	$(CARGO) build --profile $(PROFILE) --bin vz-sync
	$(OUT)/vz-sync demo --data-dir .demo $(ARGS)

test: ## Run every test; servers are started and stopped by the tests (ARGS=filter)
	@CARGO="$(CARGO)" .ci/test $(ARGS)

bench: deps ## Measure a release build: first, unchanged, changed and delta runs of two sizes (ARGS=flags)
	$(CARGO) build --release --bin vz-sync
	$(TARGET)/release/vz-sync bench --teams 200 --envs 20 --nodes 4 $(ARGS)
	$(TARGET)/release/vz-sync bench --teams 1 --envs 10000 --nodes 3 $(ARGS)

smoke-vz_sync: deps ## Start a demo of its own, trigger a sync, wait for its rows and event
	$(CARGO) build --profile $(PROFILE) --bin vz-sync
	@.ci/smoke-vz_sync $(OUT)/vz-sync

lint: ## Formatting, clippy with warnings as errors, dependencies, shell scripts
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@.ci/deny
	@PATH="$$PWD/.cache/tools/bin:$$PATH"; if command -v shellcheck >/dev/null; then shellcheck .ci/*; else echo "shellcheck: not installed, skipped"; fi

fmt: ## Format the code
	$(CARGO) fmt --all

deny: ## Check licences, bans, sources and advisories of the dependencies
	@.ci/deny

deps: ## Fetch PostgreSQL server programs when the machine has none
	@.ci/install-postgres

ci: ## What a new machine runs on a clean clone
	@.ci/run

clean: ## Remove build output and fetched tools; the demo's data in .demo stays
	$(CARGO) clean
	rm -rf .cache
