# Two commands: `make demo` and `make test`. Each makes its own virtual environment in .venv where
# there is none. On a machine with an NVIDIA GPU: `make demo REQUIREMENTS=requirements-gpu.txt`.

PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
BIN := .venv/bin

.PHONY: demo test slow environment benchmarks

demo: environment
	$(BIN)/python -m setup.demo $(ARGS)

test: environment
	$(BIN)/python -m pytest -n auto --dist loadfile

slow: environment
	$(BIN)/python -m pytest -m slow

benchmarks: environment
	$(BIN)/python -m benchmarks.record

environment: .venv/installed

.venv/installed: $(REQUIREMENTS) requirements-base.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Groundfix needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || \
		{ echo "Python lacks venv: apt-get install python3-venv, then run make again"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r $(REQUIREMENTS)
	@touch $@
