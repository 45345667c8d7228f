# Two commands: `make up` runs the estate on this machine, `make test` tests it. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
QHS := .venv/bin/qhs
# "yes" where the live suite can run: as root on Linux. There nothing that a test needs may be missing, so none is skipped.
ROOT := $(shell [ "$$(uname -s) $$(id -u)" != "Linux 0" ] || echo yes)
NO_SKIP := $(if $(ROOT),QHS_NO_SKIP=1)

.PHONY: help env host host-tests up down test lint unit live soak

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

env: ## Python packages into .venv, from requirements.lock
	@scripts/env.sh

host: ## Debian packages that the twin needs, where they are missing (root)
	@scripts/host.sh

host-tests: # and those that only tests need
	@scripts/host.sh tests

up: env host ## run the whole estate on this machine
	@$(QHS) up

down: env ## take it away again
	@$(QHS) down

# Minutes after which it begins no more live tests, and names those that it leaves out: CI waits for 90.
MINUTES := 60
test: export QHS_TEST_UNTIL := $(shell expr $$(date +%s) + $(MINUTES) \* 60)
test: lint unit live ## everything that CI runs; live tests that a slow machine leaves no time for are named

lint: env ## ruff, mypy --strict, yamllint, ansible-lint
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/yamllint --strict .
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/ansible-lint --offline --profile production -q

unit: env $(if $(ROOT),host) ## unit, policy, role and meta tests; without root also without the network
	@$(NO_SKIP) .venv/bin/pytest -q -n 2 tests/unit tests/policies tests/roles tests/meta

live: env $(if $(ROOT),host-tests) ## the engine's tests; as root on Linux the live suite, on a twin of its own, and those while it waits
	$(if $(ROOT),@$(NO_SKIP) .venv/bin/pytest -q --durations=30 tests/twin --beside "tests/engine tests/kernel",@.venv/bin/pytest -q -n 2 --dist loadfile tests/engine)
	$(if $(ROOT),,@echo "skipped: tests/kernel and tests/twin need root on Linux")

soak: env ## rows that take longer, with the figures that are kept of them; ROW=T-A16 for one (root)
	@scripts/host.sh soak
	@$(NO_SKIP) .venv/bin/python -m qhs.soak $(ROW)
