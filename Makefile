# Two commands: `make up` runs the estate on this machine, `make test` tests it. `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
QHS := .venv/bin/qhs
ROOT := $(shell id -u)

.PHONY: help env host up down test lint unit live

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

env: ## Python packages into .venv, from requirements.lock
	@scripts/env.sh

host: ## Debian packages that the twin needs, where they are missing (root)
	@scripts/host.sh

up: env host ## run the whole estate on this machine
	@$(QHS) up

down: env ## take it away again
	@$(QHS) down

test: lint unit live ## everything that CI runs

lint: env ## ruff, mypy --strict, yamllint, ansible-lint
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/yamllint --strict .
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/ansible-lint --offline --profile production -q

unit: env ## unit, policy, role and meta tests: no root, no network
	@.venv/bin/pytest -q -n 2 tests/unit tests/policies tests/roles tests/meta

live: env ## the engine's tests; as root on Linux also the live suite, on a twin of its own
ifeq ($(ROOT),0)
	@scripts/host.sh
	@.venv/bin/pytest -q tests/engine tests/kernel tests/twin
else
	@.venv/bin/pytest -q tests/engine
	@echo "skipped: tests/twin needs root on Linux"
endif
