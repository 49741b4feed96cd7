# Every target sets itself up: the virtual environment is made, and brought up to date when setup.cfg or
# constraints.txt changed. VENV=DIR puts it elsewhere; PYTHON=COMMAND chooses the Python that it is made with.
VENV = .venv
PYTHON = python3.13 python3.12 python3.11 python3
PYTEST_ARGS =
# A process for each core, up to four; each file in one of them.
AT_ONCE = --numprocesses logical --maxprocesses 4 --dist loadfile
QUICKSTART = runs/quickstart

BIN = $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -rs
# TensorFlow has wheels for these, and Debian packages `venv` apart.
SUITABLE = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help quickstart test test-slow test-all lint format typecheck clean

help:
	@echo 'make quickstart  pre-train on handwritten digits, fine-tune, evaluate, and make a report'
	@echo 'make test        all tests but those marked slow or interop'
	@echo 'make test-slow   those; installs PyTorch and JAX'
	@echo 'make test-all    both'
	@echo 'make lint        ruff: rules and format ("make format" repairs)'
	@echo 'make typecheck   mypy'
	@echo 'make clean       remove $(VENV), build products and caches'

# The recipes of `digits`, with a network of half the depth, 5 % of the labels and a shorter attack in validation.
quickstart: ARCH = resnet10
quickstart: LABELS = --labels 0.05 --set validation.steps=5
# Clean images, and the attack in the ball that the recipes train in.
quickstart: ATTACKS = --attack none --attack pgd20:epsilon=0.1
quickstart: $(VENV)/.installed
	$(BIN)/acl-tf pretrain --variant ds --dataset digits --arch $(ARCH) --output $(QUICKSTART)/ds --resume
	$(BIN)/acl-tf finetune $(QUICKSTART)/ds $(LABELS) --output $(QUICKSTART)/ds_trades --resume
	$(BIN)/acl-tf finetune random:$(ARCH) --width 0.125 --dataset digits $(LABELS) --output $(QUICKSTART)/random_trades --resume
	$(BIN)/acl-tf evaluate $(QUICKSTART)/ds_trades $(ATTACKS) --resume
	$(BIN)/acl-tf evaluate $(QUICKSTART)/random_trades $(ATTACKS) --resume
	$(BIN)/acl-tf report $(QUICKSTART)/ds $(QUICKSTART)/ds_trades $(QUICKSTART)/random_trades --images 100 --output $(QUICKSTART)/report.html
	@echo 'Open $(QUICKSTART)/report.html: DS pre-training against random initialisation, both fine-tuned with 5 % of the labels.'
	@echo 'Next:'
	@echo '  $(BIN)/tensorboard --logdir $(QUICKSTART)                    look at the curves'
	@echo '  $(BIN)/acl-tf pretrain --variant ds --dataset cifar10       train on CIFAR-10 (TFDS downloads it)'
	@echo '  $(BIN)/acl-tf export $(QUICKSTART)/ds_trades DIR            a SavedModel for TF Serving; acl-tf push publishes'
	@echo '  $(BIN)/acl-tf COMMAND --help; docs/                         more options; the same in Python'

test: $(VENV)/.installed-dev
	$(PYTEST) $(AT_ONCE) --durations=30 -m 'not slow and not interop' $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev-interop
	$(PYTEST) $(AT_ONCE) -m 'slow or interop' $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev-interop
	$(PYTEST) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# mypy does not see an editable install's acl_tf.cli, so it gets a tree in which every package lies where it is installed.
typecheck: $(VENV)/.installed-dev
	@rm -rf build/typecheck
	@mkdir -p build/typecheck/acl_tf
	@ln -s $(CURDIR)/acl_tf/* $(CURDIR)/cli $(CURDIR)/hub $(CURDIR)/configs build/typecheck/acl_tf
	cd build/typecheck && $(abspath $(BIN))/python -m mypy --cache-dir $(CURDIR)/.mypy_cache --config-file $(CURDIR)/setup.cfg --package acl_tf

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find acl_tf cli hub configs benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(PYTHON); do \
	    $$python -c '$(SUITABLE)' 2>/dev/null || continue; \
	    echo "Making $(VENV) with $$($$python --version), $$(command -v $$python)"; \
	    $$python -m venv $(VENV); exit; \
	done; \
	echo 'acl-tf needs Python 3.11, 3.12 or 3.13 with its venv module. Tried: $(PYTHON). Name another: make PYTHON=COMMAND' >&2; \
	exit 1

# pip brings an existing environment up to date.
$(VENV)/.installed: EXTRAS =
$(VENV)/.installed-dev: EXTRAS = [dev]
$(VENV)/.installed-dev-interop: EXTRAS = [dev,interop]
$(VENV)/.installed $(VENV)/.installed-dev $(VENV)/.installed-dev-interop: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing acl-tf$(EXTRAS) into $(VENV): a few minutes, about 3 GB'
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt -e '.$(EXTRAS)'
	@touch $@
