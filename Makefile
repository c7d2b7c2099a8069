# micronode: `make run` builds and starts a node, `make test` checks everything.
GO      ?= go
BIN     := bin
ADDR    ?= 127.0.0.1:8080
TOOLS   := -modfile=.ci/tools.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GIT_SHA ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.gitSHA=$(GIT_SHA)
SOURCES := go.mod go.sum main.go $(shell find kernel actors http store config -name '*.go' -not -name '*_test.go') http/openapi.yaml

.PHONY: run build ronctl test race fuzz soak bench lint clean help

run: build ## build, then start a node on $(ADDR) in dev mode with chaos drills on
	@exec $(BIN)/micronode --dev --chaos --http-addr $(ADDR)

build: $(BIN)/micronode $(BIN)/ronctl ## both binaries into bin/

ronctl: $(BIN)/ronctl

$(BIN)/micronode: $(SOURCES)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ .

$(BIN)/ronctl: $(SOURCES)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./http/ronctl

test: lint race fuzz ## everything: formatting, vet, staticcheck, race tests, black-box tests, ten seconds of fuzzing for each parser

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l main.go supervisor_test.go kernel actors http store config)" || { echo 'gofmt wants:'; gofmt -l main.go supervisor_test.go kernel actors http store config; exit 1; }
	$(GO) vet ./...
	$(GO) tool $(TOOLS) staticcheck ./...

race: build ## all tests under the race detector
	$(GO) test -race -timeout 15m ./...
	@command -v strace >/dev/null || echo 'NOT CHECKED: that no file is written (strace is missing)'
	@{ /usr/bin/python3 -c 'import pymacaroons' || python3 -c 'import pymacaroons'; } 2>/dev/null || echo 'NOT CHECKED: interoperation with libmacaroons (python3-pymacaroons is missing)'
	@[ "$$(id -u)" = 0 ] || echo 'NOT CHECKED: that the root key leaves the memory (needs root)'

FUZZTIME ?= 10s
fuzz: ## FUZZTIME (10s) of every fuzz target, one after the other
	@$(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./... | while read -r dir; do \
	  grep -ho '^func Fuzz[A-Za-z0-9]*' $$dir/*_test.go 2>/dev/null | sed 's/^func //' | while read -r target; do \
	    echo "fuzz $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
	  done || exit 1; \
	done

soak: build ## kill, hang, cut the power and damage, in numbers: about twenty minutes
	$(GO) test -count=1 -timeout 30m -run "TestSoak|TestMailboxLedger|TestSIGKILL" -v . -args -soak
	$(GO) test -count=1 -timeout 30m -run "CrashImages|Damaged|EveryOperation" -v ./store/pebble -args -crashes 10000 -thorough

bench: ## all Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./kernel ./store/... ./http ./actors

clean: ## remove bin/
	rm -rf $(BIN)

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10
