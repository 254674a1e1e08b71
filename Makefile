# Everything one needs: `make run` starts the lab, `make test` runs every test. Both can be repeated.
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin
# Two processes, each with whole files of tests, so that the order within a file stays.
TWO := --numprocesses 2 --dist loadfile
# What neither loads a model nor asks one, or starts programs of its own, where that device is unknown.
NO_MODEL := e2e data images mutations test_architecture.py test_card.py test_devices.py test_package.py test_records.py
MODULES = $(shell find lab -name '*.py' -not -name '_*' -not -path 'lab/ui/*' -not -path 'lab/cli/*' | sort | sed 's/\.py$$//; s|/|.|g')

.PHONY: help run test card lint check docs clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1  -  \2/p' Makefile

run: .venv/installed-run ## install what is needed into .venv and start the app
	@echo "Starting the lab on http://127.0.0.1:$(PORT); stop it with Ctrl-C."
	@$(BIN)/streamlit run app.py --server.port $(PORT) $(ARGS)

test: .venv/installed-dev ## install the tools too and run every test
	@echo "Running every test; without Chromium the browser tests are skipped."
	@$(BIN)/python -m pytest $(TWO)

card: .venv/installed-dev ## run the tests with the models on a second device, which is pretended
	@$(BIN)/python -m pytest $(TWO) --device card $(foreach part,$(NO_MODEL),--ignore tests/$(part))

lint: .venv/installed-dev ## check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: .venv/installed-dev ## lint and test: what a change must pass
	@scripts/check

docs: .venv/installed-dev ## write the reference of the package to docs/api/
	@rm -rf docs/api
	@$(BIN)/pdoc --docformat google --no-show-source --output-directory docs/api lab $(MODULES)
	@echo "The reference begins at docs/api/index.html."

clean: ## remove .venv and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis docs/api dist

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Python is missing: install Python 3.11 or newer (Debian: apt install python3 python3-venv)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, and this is $$($(PYTHON) --version): say make run PYTHON=python3.12, for example."; exit 1; }
	@echo "Making .venv."
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || { rm -rf .venv; echo "Python cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)."; exit 1; }

.venv/installed-run: requirements.txt | .venv/bin/python
	@echo "Installing requirements.txt into .venv; the first time takes some minutes."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt >.venv/install.log 2>&1 || { echo "The packages could not be installed: check the network connection, then see .venv/install.log."; exit 1; }
	@touch $@

# torchattacks asks for old versions of other packages, so it comes without what it asks for; tests compare with it.
.venv/installed-dev: requirements-dev.txt Makefile .venv/installed-run
	@echo "Installing requirements-dev.txt into .venv."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt >.venv/install.log 2>&1 && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps torchattacks==3.5.1 >>.venv/install.log 2>&1 || { echo "The packages could not be installed: check the network connection, then see .venv/install.log."; exit 1; }
	@touch $@
