# make demo   the whole system in sealed network namespaces, one minute
# make test   lint, unit and lab, one after another; .ci/run is make compose-test and this
#   make lint   ruff, mypy, the layers
#   make unit   tests/unit, tests/fuzz and tests/loopback: no privileges, no network but 127.0.0.1; never run twice
#   make lab    tests/lab: every row, rule and fault on real packets; one that fails is tried once more, alone
# make soak   the long proof: twenty seeds of the random firewall and every fault
# make steady unit five times and lab once while two busy loops take both cores; nothing is tried again
# make coverage every line and branch of reachability/ and of the classifier, by the examples of their own unit tests; it fails below 100%
# make golden what is made of the observations that tests/golden keeps, written anew: its diff is the review
# make mutants  a fault put into the verdict, the loss rule, the fold, the store and so on, one at a time: a unit test must see each
# make compose-test  docker-compose.test.yml and its tests: a leak found, closed, a target stopped; no registry needed
# make browser   the coordinator's page in Debian's Chromium, without a window; nothing but 127.0.0.1 is reached
# make agent-binary  an agent that carries its interpreter, as one file for hosts without Python: dist/segwatch-agent-…
# make binary-test   that file on the oldest release that can be had, in namespaces; BINARY_ROOT=root.tar is another
# make packages  dist/segwatch-agent_*.deb and dist/segwatch-coordinator_*.deb, for the release that this machine runs
# make systemd-test  the units, and the packages where they are made, under systemds that boot in namespaces without a way out
# make lock   the lock files, anew: requirements.lock is the whole product, requirements.agent.lock an agent's share of it
# make oldest, make newest  the unit tests with the oldest and the newest of what pyproject.toml allows, in venvs of their own
# make chaos  a hundred faults in random order, half an hour; CHAOS_SEED=N has one run again
# make fuzz   ten million inputs for the parsers of what others send; make unit has a minute of them
# make sbom   dist/segwatch.cdx.json: what the product's lock file holds, as CycloneDX
# make audit  pip-audit over that lock file: it fails for a known vulnerability, and where its source was not reached: nothing is known then
# make bench  measurements, against a peer in the same run
VENV    ?= .venv
PY      := $(VENV)/bin/python
PIP     := $(PY) -m pip install --quiet --disable-pip-version-check
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEMO_APT := nftables iproute2 redis-server nginx-light
TEST_APT := $(DEMO_APT) nmap tcpdump tshark dnsmasq-base libcap2-bin procps openssl linux-libc-dev mosquitto rabbitmq-server systemd \
  docker.io docker-compose mmdebstrap iptables faketime
BINARY_APT := gcc libc6-dev binutils liblzma-dev
SYSTEMD_APT := systemd-container dpkg-dev
BROWSER_APT := chromium fonts-dejavu-core
# More at a time than there are cores: a part of each is waiting, in the lab for what a network does not do.
PYTEST  := $(PY) -m pytest -p no:cacheprovider --dist worksteal --durations 10
LOCK    := .stamps/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --upgrade
FUZZ_RUNS ?= 10500000

.PHONY: demo test lint unit lab soak steady coverage golden mutants compose-test browser agent-binary binary-test packages systemd-test lock oldest \
  newest chaos bench fuzz sbom audit clean
.DELETE_ON_ERROR:

demo: .stamps/demo-apt .stamps/venv
	$(VENV)/bin/segwatch demo

test: lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory lab

unit: .stamps/dev .stamps/pyyaml .stamps/test-apt
	$(PYTEST) -n 4 tests/unit tests/fuzz tests/loopback $(PYTEST_ARGS)

lab: .stamps/dev .stamps/test-apt
	$(PYTEST) -n 3 tests/lab $(PYTEST_ARGS)

lint: .stamps/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

soak: .stamps/test-apt .stamps/dev
	$(PY) -m pytest -p no:cacheprovider -m "lab or soak" -v -rP --tb=short --durations 10 tests/lab tests/loopback $(PYTEST_ARGS)

steady: .stamps/test-apt .stamps/dev
	tests/steady $(PY)

# Without what hypothesis draws: that reaches a line today and not tomorrow.
coverage: .stamps/dev
	@$(PY) -m coverage run -m pytest -p no:cacheprovider -q -m "not soak and not hypothesis" \
	  tests/unit/reachability tests/unit/probes/test_classify.py $(PYTEST_ARGS)
	@$(PY) -m coverage report

golden: .stamps/dev
	$(PY) -m tests.golden

mutants: .stamps/dev .stamps/pyyaml .stamps/test-apt
	@$(PY) -m tests.mutants

compose-test: .stamps/test-apt .stamps/dev
	@$(PY) -m pytest -p no:cacheprovider -q -s tests/compose $(PYTEST_ARGS)

browser: .stamps/dev
	@tests/install-apt $(SUDO) -- $(BROWSER_APT)
	@$(PY) -m pytest -p no:cacheprovider -q -n 2 tests/browser $(PYTEST_ARGS)

# Of what this machine has: its Python and its C library are what the file carries.
agent-binary: .stamps/venv
	@tests/install-apt $(SUDO) -- $(BINARY_APT)
	@PYTHONHASHSEED=0 $(PY) deploy/binary/build.py dist

binary-test: .stamps/test-apt .stamps/dev agent-binary
	@$(PY) -m pytest -p no:cacheprovider -q tests/binary $(PYTEST_ARGS)

packages: .stamps/dev
	@tests/install-apt $(SUDO) -- $(SYSTEMD_APT)
	@$(PY) -m deploy.debian.build

systemd-test: .stamps/test-apt .stamps/dev packages
	@$(PY) -m pytest -p no:cacheprovider -q tests/systemd $(PYTEST_ARGS)

lock: .stamps/uv
	$(LOCK) pyproject.toml --extra all -o requirements.lock
	$(LOCK) pyproject.toml -c requirements.lock -o requirements.agent.lock
	$(LOCK) pyproject.toml --extra dev -c requirements.lock -o requirements.dev.lock
	$(LOCK) --group build -c requirements.dev.lock -o requirements.build.lock
	$(LOCK) --group bench --group fuzz -c requirements.dev.lock -o requirements.bench.lock

oldest: RESOLUTION := lowest-direct
newest: RESOLUTION := highest
oldest newest: .stamps/uv .stamps/pyyaml .stamps/test-apt
	@rm -rf .stamps/$@.venv && python3 -m venv .stamps/$@.venv
	@.stamps/uv pip install --quiet --python .stamps/$@.venv --resolution $(RESOLUTION) -e '.[all]'
	@.stamps/uv pip install --quiet --python .stamps/$@.venv -e '.[dev]'
	.stamps/$@.venv/bin/python -m pytest -p no:cacheprovider -n 2 tests/unit $(PYTEST_ARGS)

chaos: .stamps/test-apt .stamps/dev
	$(PY) -m pytest -p no:cacheprovider -m soak -s -v --tb=short tests/chaos $(PYTEST_ARGS)

bench: .stamps/test-apt .stamps/bench
	@tests/install-apt $(SUDO) -- masscan
	$(PY) -m tests.bench

fuzz: .stamps/bench
	$(PY) -m tests.fuzz --runs $(FUZZ_RUNS) $(FUZZ_ARGS)

sbom: .stamps/python-apt
	@mkdir -p dist && python3 deploy/sbom.py requirements.lock > dist/segwatch.cdx.json && echo dist/segwatch.cdx.json

# In a venv of its own: it is no part of what it looks at. Where it cannot be installed, nothing is known either.
audit: .stamps/python-apt
	@python3 -m venv .stamps/audit.venv
	@.stamps/audit.venv/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3' || true
	@python3 deploy/audit.py .stamps/audit.venv/bin/pip-audit requirements.lock

# Each step says what it installs, and does it once a checkout.
.stamps/demo-apt: Makefile
	@tests/install-apt $(SUDO) -- $(DEMO_APT)
	@mkdir -p .stamps && touch $@

.stamps/test-apt: Makefile
	@tests/install-apt $(SUDO) -- $(TEST_APT)
	@mkdir -p .stamps && touch $@

.stamps/python-apt:
	@command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null \
	  || tests/install-apt $(SUDO) -- python3 python3-venv
	@mkdir -p .stamps && touch $@

# What is installed is what the lock files name, by their hashes: a venv that is kept and a new one are the same.
.stamps/venv: .stamps/python-apt pyproject.toml requirements.lock requirements.build.lock
	@echo "installing segwatch and its dependencies into $(VENV)"
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements.lock -r requirements.build.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@mkdir -p .stamps && touch $@

.stamps/dev: .stamps/venv requirements.dev.lock
	@echo "installing the development tools into $(VENV)"
	@$(PIP) --require-hashes -r requirements.dev.lock
	@mkdir -p .stamps && touch $@

.stamps/bench: .stamps/dev requirements.bench.lock
	@$(PIP) --require-hashes -r requirements.bench.lock
	@mkdir -p .stamps && touch $@

# The loader says the same with each of them.
.stamps/pyyaml: .stamps/venv
	@for version in 6.0.2 6.0.3 6.0.4; do $(PIP) --no-deps --upgrade --target .stamps/pyyaml-$$version pyyaml==$$version || exit; done
	@touch $@

.stamps/uv: .stamps/python-apt
	@python3 -m venv .stamps/uv.venv
	@.stamps/uv.venv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@ln -sf uv.venv/bin/uv $@

clean:
	rm -rf .stamps $(VENV) build dist
