# make run · make test · make check · make bench · make soak · make lock

HOST ?= 127.0.0.1
PORT ?= 8000
PORTS ?=
PYTHON ?= $(firstword $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p; done))

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
TOOLS := $(VENV)/.tools

.DEFAULT_GOAL := run
.PHONY: run test check bench soak lock clean

run: $(RUNTIME) .env
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py seed_demo
	@exec $(BIN)/python -m project.serve --host $(HOST) --port $(PORT) \
		$(if $(filter documents,$(PORTS)),--documents)

test: $(TOOLS)
	@$(BIN)/python -m project.tests.suite

soak: $(TOOLS)
	@$(BIN)/python -m project.tests.suite --soak

check: export DEBUG = 1
check: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python manage.py check
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: $(TOOLS)
	@$(BIN)/python -m bench

# The pinned lists, written from what is installed in .venv.
lock: $(TOOLS)
	$(BIN)/python .ci/lock.py requirements.in > requirements.txt.new
	$(BIN)/python .ci/lock.py requirements-dev.in > requirements-dev.txt.new
	mv requirements.txt.new requirements.txt
	mv requirements-dev.txt.new requirements-dev.txt

clean:
	rm -rf $(VENV) staticfiles var db.sqlite3*

# The stamps keep a second run quick: packages are installed again only when a list changed.
$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it: make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(TOOLS): requirements-dev.txt requirements.txt | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(RUNTIME)

# Development settings, once: the file is yours afterwards.
.env:
	@echo "# Written by make run for development; see .env.example." > $@
	@echo "DEBUG=1" >> $@
