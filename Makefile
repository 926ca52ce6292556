# make setup     .venv with everything in it; installs missing system packages where it may, else prints the command
# make demo      train, cut two planes, measure, draw: pictures in ./thalweg-demo   (under 3 minutes on 2 cores)
# make test      what CI runs          make test-all  the slow tests too
# make chaos     200 kills of the daemon and its workers      make mutants   each guard taken away, and the test that tells
# make lint      ruff and mypy         make bench     each headline figure, one script each

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SYSTEM := libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri dataset-fashion-mnist python3-venv xvfb xdotool
MISSING = $(shell for p in $(SYSTEM); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done)
WORKERS ?= 2
# Two test processes of two threads on two cores: threads that wait by spinning would take them from each other.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup system demo test test-all chaos mutants bench lint format clean

setup: system $(STAMP)

# Pictures need EGL and a GL driver (Mesa draws without a graphics card); Fashion-MNIST comes as a Debian package. Windows
# are tested on a display of their own (xvfb), with a hand at mouse and keys (xdotool).
system:
	@missing="$(strip $(MISSING))"; \
	if ! command -v dpkg-query >/dev/null; then \
	  echo "system packages: not a Debian system; pictures need EGL and an OpenGL 3.3 driver (Mesa will do)"; \
	elif [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo=no; fi; \
	  if [ "$$sudo" = no ]; then \
	    echo "system packages: some are missing; type this, then make setup again if it stopped:"; \
	    echo "  sudo apt-get update && sudo apt-get install -y $$missing"; \
	  else \
	    echo "system packages: installing $$missing"; \
	    $$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -q --no-install-recommends $$missing \
	      || { echo "system packages: that failed; going on without: $$missing"; }; \
	  fi; \
	fi

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup: expected Python 3.11 or later; type: make setup PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: setup
	$(BIN)/thalweg demo

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

test-all: setup
	$(BIN)/python -m pytest -n $(WORKERS)

bench: setup
	@for script in $(filter-out benchmarks/chaos.py, $(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

KILLS ?= 200
SEED ?= 1
chaos: setup
	$(BIN)/python benchmarks/chaos.py $(KILLS) $(SEED)

mutants: setup
	$(BIN)/python tests/mutants.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) thalweg-demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
