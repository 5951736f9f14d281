# onsale: run `make help` for what there is to make.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
PKG     ?= ./...
ARGS    ?=

GOLANGCI_VERSION := 2.15.0
GOLANGCI := .bin/golangci-lint
STRIPE_MOCK_VERSION := 0.203.0
STRIPE_MOCK := .bin/stripe-mock

# Runs a command beside one real Redis and PostgreSQL for all tests in it.
WITH_SERVERS := go run ./internal/stack/cmd/teststack

.PHONY: help
help: ## Show this help
	@echo "usage: make TARGET [ARGS='...'] [PKG=./waitroom/...]"
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##
## Building and running
##

.PHONY: demo
demo: build ## Build and run everything on this machine, with demo events on sale
	@exec bin/onsale demo $(ARGS)

.PHONY: build
build: ui binary ## Build bin/onsale with the pages inside

.PHONY: binary
binary:
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/onsale ./cmd/onsale

.PHONY: ui
ui: web/ui/dist/index.html ## Build the pages, if they changed

UI_SOURCES := $(shell find web/ui -type f -not -path '*/node_modules/*' -not -path 'web/ui/dist/*' \
	-not -path 'web/ui/test/*' -not -path 'web/ui/e2e/*' -not -name '*.go' -not -name '.git*' 2>/dev/null)

web/ui/dist/index.html: $(UI_SOURCES) web/ui/node_modules/.package-lock.json
	cd web/ui && npm run --silent build
	@touch $@

web/ui/node_modules/.package-lock.json: web/ui/package.json web/ui/package-lock.json
	cd web/ui && npm ci --no-audit --no-fund
	@touch $@

##
## Testing
##

.PHONY: test
test: deps build test-ui vet test-race e2e ## Run all tests: pages, Go with race detector on real servers, browser
	@echo
	@echo "All tests passed. Go's:"
	@cat .bin/test-race.log

.PHONY: deps
deps: $(STRIPE_MOCK) ## Install what the tests need (as root on Debian), or say what to install
	@.ci/test-deps

# Phony, so that a binary of another version is replaced.
.PHONY: $(STRIPE_MOCK)
$(STRIPE_MOCK):
	@go version -m $@ 2>/dev/null | grep -qwF 'v$(STRIPE_MOCK_VERSION)' || { \
		echo "installing stripe-mock $(STRIPE_MOCK_VERSION) into .bin"; \
		GOBIN='$(CURDIR)/.bin' go install github.com/stripe/stripe-mock@v$(STRIPE_MOCK_VERSION); \
	}

.PHONY: test-ui
test-ui: web/ui/node_modules/.package-lock.json
	cd web/ui && npm run --silent typecheck
	cd web/ui && npm run --silent test

.PHONY: vet
vet: ui
	go vet ./...

.PHONY: test-go
test-go: ui $(STRIPE_MOCK) ## Run the Go tests without race detector, PKG=./waitroom/... for some
	$(WITH_SERVERS) go test $(ARGS) $(PKG)

.PHONY: test-race
test-race: ui $(STRIPE_MOCK) ## Run the Go tests with race detector, PKG=./waitroom/... for some
	@mkdir -p .bin
	set -o pipefail; CGO_ENABLED=1 $(WITH_SERVERS) go test -race -timeout 20m $(ARGS) $(PKG) 2>&1 | tee .bin/test-race.out
	@grep -E '^(ok|\?|---|FAIL)' .bin/test-race.out > .bin/test-race.log

.PHONY: e2e
e2e: build ## Run the tests in Chromium against bin/onsale
	cd web/ui && npm run --silent e2e

.PHONY: screenshots
screenshots: build ## Remake the pictures of the documentation
	cd web/ui && ONSALE_SCREENSHOTS=1 npm run --silent e2e

.PHONY: fuzz-short
fuzz-short: ui ## Fuzz every target for a few seconds each (FUZZTIME=10s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | grep -v node_modules | while read -r file; do \
		for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
			echo "== $$(dirname "$$file") $$target"; \
			go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(or $(FUZZTIME),10s) "$$(dirname "$$file")"; \
		done; \
	done

.PHONY: bench
bench: build ## Measure against the goals, on this machine (ARGS='--scenario journey --visitors 2000')
	bin/onsale bench $(ARGS)

##
## Checking
##

.PHONY: lint
lint: ui $(GOLANGCI) ## Run the linters, the import rules included
	$(GOLANGCI) run
	cd web/ui && npm run --silent typecheck

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the Go code
	$(GOLANGCI) fmt

# Phony, so that a binary of another version is replaced.
.PHONY: $(GOLANGCI)
$(GOLANGCI):
	@$@ version 2>/dev/null | grep -qwF '$(GOLANGCI_VERSION)' || { \
		echo "installing golangci-lint $(GOLANGCI_VERSION) into .bin (a few minutes, once)"; \
		GOBIN='$(CURDIR)/.bin' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION); \
	}

.PHONY: config-example
config-example: ## Rewrite config/onsale.example.yaml from the defaults
	go test ./config -run TestExampleFile -update

.PHONY: clean
clean: ## Remove everything that was built or downloaded into this folder
	rm -rf bin .bin web/ui/node_modules
	find web/ui/dist -mindepth 1 -not -name .gitkeep -delete
