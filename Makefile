# Everything a clean clone needs: Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNTIME := $(VENV)/.runtime

.PHONY: demo test readme lint types picture bench bench-quick torture hostile fuzz check lock clean

demo: $(RUNTIME)  ## the whole thing on loopback, with a phone page in the browser
	$(BIN)/python -m wbot demo

test: $(STAMP)  ## the whole suite, on every core
	$(BIN)/pytest --numprocesses auto --dist worksteal

readme: $(STAMP)  ## README's "Run it for real", in an empty environment
	$(BIN)/pytest -m registry

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

picture: $(STAMP)  ## the phones in README; needs Debian's chromium and fonts-noto-color-emoji
	$(BIN)/python tests/picture.py docs/phones.webp

bench: $(STAMP)  ## acknowledgements beside baselines, a start after a crash, and growth to a million
	$(BIN)/python tests/benchmarks/intake.py
	$(BIN)/python tests/benchmarks/recovery.py
	$(BIN)/python tests/benchmarks/growth.py

bench-quick: $(STAMP)
	$(BIN)/python tests/benchmarks/intake.py --count 500
	$(BIN)/python tests/benchmarks/growth.py --counts 1000 20000

# Both with the other form of the model API too: make torture WBOT_MODEL_API=responses
torture: $(STAMP)  ## kill the real service over and over, and judge what it kept (some 20 minutes)
	PYTHONPATH=tests $(BIN)/python -m torture

hostile: $(STAMP)  ## a model and customers that mean no good, 100,000 turns, audited (some 30 minutes)
	PYTHONPATH=tests $(BIN)/python -m hostile

FUZZ := .venv-fuzz
FUZZ_S ?= 300

fuzz: $(STAMP)  ## coverage-guided fuzzing of the webhook, in an environment of its own
	test -d $(FUZZ) || $(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		-r deploy/requirements.txt
	$(FUZZ)/bin/pip install --quiet --disable-pip-version-check "atheris<3.1"
	mkdir -p $(FUZZ)/corpus && cp tests/payloads/*.json $(FUZZ)/corpus/
	PYTHONPATH=. $(FUZZ)/bin/python tests/fuzz/webhook.py -max_total_time=$(FUZZ_S) -timeout=10 \
		-artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus

check: lint types test

$(RUNTIME): deploy/requirements.txt
	@echo "Installing what wbot runs on (once, about a minute):"
	@$(PYTHON) deploy/install.py $(VENV) deploy/requirements.txt
	@touch $(RUNTIME)

$(STAMP): deploy/requirements-dev.txt pyproject.toml
	@echo "Installing what wbot runs on and what tests it (once, a few minutes):"
	@$(PYTHON) deploy/install.py $(VENV) deploy/requirements-dev.txt
	@touch $(RUNTIME)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

LOCK := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host --no-emit-options --no-header --no-annotate \
	--allow-unsafe

lock:  ## rewrite the lock files from pyproject.toml (needs an installed .venv)
	$(LOCK) --all-build-deps -o deploy/requirements.txt pyproject.toml
	$(LOCK) --extra dev -o deploy/requirements-dev.txt pyproject.toml

clean:
	rm -rf $(VENV) dist build
