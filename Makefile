# Every target with a "##" comment shows in `make help`.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules

GO       ?= go
# The toolchain that go.mod names, also where a distribution's Go does not fetch one by
# itself. Set it to `local` to build with what is installed.
export GOTOOLCHAIN ?= auto
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 10s
BENCH    ?= .
ARGS     ?=

# The linter has a module file of its own, so that its two hundred
# dependencies never meet those of the program; gotestsum, which shows the tests,
# needs a few of the same. So has the check for vulnerabilities, of which the
# newest database counts: it is a module, too.
LINT := $(GO) tool -modfile=tools/go.mod golangci-lint
VULN := $(GO) tool -modfile=tools/vuln/go.mod govulncheck
GOTESTSUM := $(GO) tool -modfile=tools/go.mod gotestsum

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Programs are compiled in one way, so that what one target compiled serves the others.
COMPILE := CGO_ENABLED=0 $(GO) build -trimpath

.PHONY: build
build: ## Build bin/fanjet
	@echo "compiling bin/fanjet: the first time this takes minutes, since NATS and CEL are compiled too"
	$(COMPILE) -ldflags '$(LDFLAGS)' -o bin/fanjet ./cmd/fanjet

.PHONY: run
run: build ## Build, then show the whole tour (ARGS=--once: end when it is over)
	bin/fanjet demo $(ARGS)

# Tests that kill processes need programs. They are compiled before the tests, not in
# them, where the time that tests may take would be used up by it.
TESTBIN := $(CURDIR)/bin/test

.PHONY: testbin
testbin:
	@echo "compiling the programs that tests start and kill"
	@$(COMPILE) -tags failpoint -o $(TESTBIN)/fanjet ./cmd/fanjet
	@$(COMPILE) -o $(TESTBIN)/nats-server github.com/nats-io/nats-server/v2

.PHONY: test
test: testbin ## Run all tests with the race detector
	@echo "compiling and running the tests with the race detector: the first time some minutes pass before the first result"
	@FANJET_TEST_PROGRAMS=$(TESTBIN) $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg --format-icons text \
		--hide-summary skipped --jsonfile-timing-events bin/test/events.json --post-run-command tools/closingline \
		--raw-command -- $(GO) test -race -timeout 30m -json ./...

.PHONY: lint
lint: ## Check formatting, imports, go.mod and the rules of .golangci.yml
	$(GO) mod tidy -diff
	$(LINT) run --allow-serial-runners ./...

.PHONY: vuln
vuln: ## Look for known vulnerabilities in the code that is called
	@db=$$($(GO) mod download -json golang.org/x/vulndb@latest | sed -n 's/^\t"Dir": "\(.*\)",*$$/\1/p') && \
	$(VULN) -format json -db "file://$$db/data/osv" ./... | $(GO) run ./internal/vulnsummary

.PHONY: fmt
fmt: ## Format the code as lint wants it
	$(LINT) fmt ./...

# A test binary is built once for all fuzz targets of its package: linking takes
# longer than many of them run. Before Go 1.27 the end of the time can count as a
# failure, "context deadline exceeded", without an input that fails (golang/go#75804).
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s)
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; cache=$$($(GO) env GOCACHE)/fuzz; \
	$(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./... | while read -r package folder; do \
		targets=$$(cat "$$folder"/*_test.go | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); \
		[ -n "$$targets" ] || continue; \
		$(GO) test -c -fuzz . -o "$$work/test" "$$package" </dev/null; \
		for target in $$targets; do \
			if ! (cd "$$folder" && "$$work/test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) \
				-test.fuzzcachedir "$$cache/$$package") >"$$work/said" 2>&1 </dev/null && \
				! { grep -qx '    context deadline exceeded' "$$work/said" && ! grep -q 'Failing input' "$$work/said"; }; then \
				cat "$$work/said"; echo "fuzz: $$package $$target failed"; exit 1; \
			fi; \
			echo "fuzz: $$package $$target: $$(sed -n 's/.*\(execs: [0-9]*\).*/\1/p' "$$work/said" | tail -n 1)"; \
		done; \
	done

.PHONY: bench
bench: ## Measure deliveries per second beside a bare loop (ARGS="-pairs 1")
	$(GO) run ./bench $(ARGS)

.PHONY: bench-all
bench-all: ## Measure everything into bench.json and draw docs/throughput.svg
	$(GO) run ./bench all -json bench.json $(ARGS)
	$(GO) run ./bench plot -o docs/throughput.svg bench.json

MINUTES    ?= 5
SEED       ?=
DURABILITY ?= fsync
RATE       ?= 200
DIRECT     ?=

.PHONY: chaos
chaos: testbin ## Break the gateway, and a cluster of NATS, by lot for MINUTES=5; check that nothing is lost
	FANJET_TEST_PROGRAMS=$(TESTBIN) CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) CHAOS_DURABILITY=$(DURABILITY) CHAOS_RATE=$(RATE) CHAOS_DIRECT=$(DIRECT) \
		$(GO) test -count=1 -timeout 0 -run '^(TestSoak|TestCluster|TestKillByFanOut|TestFrozenReplica)$$' -v ./chaos

# The last commit without direct delivery.
OLDER ?= bbabdd5

.PHONY: older
older: testbin ## Run a gateway of the commit OLDER beside one of this, and end each in turn
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; git archive $(OLDER) | tar -x -C "$$folder"; \
	(cd "$$folder" && $(COMPILE) -o $(TESTBIN)/older ./cmd/fanjet); \
	FANJET_TEST_PROGRAMS=$(TESTBIN) FANJET_OLDER=$(TESTBIN)/older $(GO) test -count=1 -timeout 0 -tags older -run '^TestOlderReplica$$' -v ./chaos

.PHONY: metamorphic
metamorphic: testbin ## The same events and faults under random configurations for MINUTES=5: one outcome
	FANJET_TEST_PROGRAMS=$(TESTBIN) CHAOS_MINUTES=$(MINUTES) CHAOS_SEED=$(SEED) \
		$(GO) test -count=1 -timeout 0 -run '^TestMetamorphic$$' -v ./chaos

# nginx apache2 haproxy lighttpd lighttpd-mod-openssl caddy nodejs, as Debian has them.
.PHONY: servers
servers: ## Reload real servers under load, over HTTP/1.1 and HTTP/2 (SERVER=nginx: one of them)
	$(GO) test -count=1 -timeout 15m -tags servers -run '^TestRealServers$$/^$(SERVER)' -v ./subscriber/httpsend

.PHONY: microbench
microbench: ## Run the benchmarks of the packages (BENCH=regexp picks some)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf bin
