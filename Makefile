# Both commands work on a machine with nothing but Python 3.11: they make .venv and install what they need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: study test bench lint clean

study: .venv/study.done
	$(BIN)/dropscope study bikeshare

test: lint
	$(BIN)/pytest -n auto --dist loadfile

lint: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev.done
	$(BIN)/python benchmarks/masks.py
	$(BIN)/python benchmarks/structured.py
	$(BIN)/python benchmarks/recurrent.py
	$(BIN)/python benchmarks/stack.py
	$(BIN)/python benchmarks/spectrum.py
	$(BIN)/python benchmarks/spectrum.py --costs
	$(BIN)/python benchmarks/moments.py
	$(BIN)/python benchmarks/ensemble.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/study.done: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing dropscope into .venv (once)"
	@$(BIN)/pip install -qq --constraint constraints.txt --editable '.[study]'
	@touch $@

.venv/dev.done: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing dropscope and its development tools into .venv (once)"
	@$(BIN)/pip install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/study.done

clean:
	rm -rf .venv build *.egg-info
