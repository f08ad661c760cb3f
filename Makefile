# Everything a fresh machine needs is python3.11 or newer, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENGINE ?= podman
IMAGE ?= localhost/hndeface:test

.DEFAULT_GOAL := help
.PHONY: help install demo test slow networks containers bench fuzz soak audit check lock licences manifest clean

help:            ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): requirements.lock requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo 'This Python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

install: $(STAMP) ## the virtual environment in .venv, exactly as locked

demo: $(STAMP)    ## deface a synthetic study as a platform job, into demo/
	$(BIN)/hndeface demo --output demo

test: $(STAMP)    ## the tests that take seconds each
	$(BIN)/python -m pytest -n 2

slow: $(STAMP)    ## the tests that take minutes, and those on real data where it is there
	$(BIN)/python -m pytest -m slow

networks: requirements.lock requirements-dev.lock requirements-networks.lock ## TotalSegmentator and nnU-Net for real, in an environment of their own
	test -x .venv-totalseg/bin/python || $(PYTHON) -m venv .venv-totalseg
	.venv-totalseg/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock -r requirements-dev.lock
	.venv-totalseg/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -c requirements-dev.lock -c requirements-networks.lock -r requirements-networks.txt
	.venv-totalseg/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv-totalseg/bin/python -m pytest -m slow tests/networks

containers: $(STAMP) ## the image, built and run as the platform would; needs podman (ENGINE=docker for docker)
	$(ENGINE) build --tag $(IMAGE) .
	HNDEFACE_ENGINE=$(ENGINE) HNDEFACE_IMAGE=$(IMAGE) $(BIN)/python -m pytest -m slow tests/containers

bench: $(STAMP)   ## what a run, each method, more slices and a batch take; BENCH=--growth for one of them
	$(BIN)/python scripts/bench $(or $(BENCH),--all)

soak: $(STAMP)    ## batches with workers and drivers killed, disks full and files broken, against one in peace; SOAK=--studies=20 for less
	$(BIN)/python scripts/soak $(SOAK)

audit: $(STAMP)   ## known holes in the locked libraries; needs the network, and says so where there is none
	$(BIN)/python scripts/audit

fuzz: $(STAMP)    ## hostile input by the hundred thousand, about an hour; FUZZ=--inputs=5000 for less
	$(BIN)/python scripts/fuzz $(FUZZ)

check: $(STAMP)   ## every static check
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

manifest: $(STAMP) ## manifest.json from Settings and pyproject.toml
	$(BIN)/python scripts/manifest

lock: $(STAMP)    ## requirements*.lock from pyproject.toml
	$(BIN)/python scripts/lock

licences: $(STAMP) ## docs/licences.md and sbom.cdx.json from the locks
	$(BIN)/python scripts/licences

clean:           ## what was built
	rm -rf $(VENV) .venv-totalseg build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
