# make demo   the whole system in sealed network namespaces, one minute
# make test   lint, types and every test; what .ci/run calls
# make soak   the long proof: twenty seeds of the random firewall and every fault
# make bench  measurements, against a peer in the same run
VENV    ?= .venv
PY      := $(VENV)/bin/python
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEMO_APT := nftables iproute2 redis-server nginx-light
TEST_APT := $(DEMO_APT) nmap tcpdump tshark dnsmasq-base libcap2-bin procps openssl
export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: demo test lint soak bench unit clean
.DELETE_ON_ERROR:

demo: .stamps/demo-apt .stamps/venv
	$(VENV)/bin/segwatch demo

test: lint .stamps/test-apt .stamps/dev
	$(PY) -m pytest -p no:cacheprovider $(PYTEST_ARGS)

unit: .stamps/dev
	$(PY) -m pytest -q tests/unit

lint: .stamps/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

soak: .stamps/test-apt .stamps/dev
	$(PY) -m pytest -p no:cacheprovider -m "lab or soak" -v -rP --tb=short tests/lab $(PYTEST_ARGS)

bench: .stamps/test-apt .stamps/dev
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(PY) -m tests.bench

# Each step says what it installs, and does it once a checkout.
.stamps/demo-apt:
	@tests/install-apt $(SUDO) -- $(DEMO_APT)
	@mkdir -p .stamps && touch $@

.stamps/test-apt:
	@tests/install-apt $(SUDO) -- $(TEST_APT)
	@mkdir -p .stamps && touch $@

.stamps/python-apt:
	@command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null \
	  || tests/install-apt $(SUDO) -- python3 python3-venv
	@mkdir -p .stamps && touch $@

.stamps/venv: .stamps/python-apt pyproject.toml
	@echo "installing segwatch and its dependencies into $(VENV)"
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -e .
	@mkdir -p .stamps && touch $@

.stamps/dev: .stamps/venv
	@echo "installing the development tools into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@mkdir -p .stamps && touch $@

clean:
	rm -rf .stamps $(VENV) build dist
