# Freshet's tasks. `make demo` shows it at work, `make test` runs the tests.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)
CORPORA ?= ../shared/corpora
FUZZTIME ?= 30s
SIGN_KEY ?=
TELL ?= -v

.PHONY: help build test check fuzz system system-machines system-parts soak bench demo release clean

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## build both programs into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/freshet ./cmd/freshet-publish

demo: build ## see Freshet at work in a temporary folder, without root
	go run ./internal/demo -bin bin

test: ## run the tests that need Go alone (no root, some 10 minutes)
	GOGC=400 go test -timeout 20m ./...
	go test -tags testclock ./internal/clock
	go test -tags nextschema -run "Migration|Golden|EveryVersion" ./internal/settings
	go test -tags nextschema,afternext -run "Migration|Golden|EveryVersion" ./internal/settings
	@echo
	@echo 'left out: real systemd, nginx, kill -9 and the large corpora (make system, as root),'
	@echo '          long runs (make soak), and comparisons with other tools (make bench)'

check: ## gofmt, vet, staticcheck; govulncheck where it is installed
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	go mod verify
	go vet ./...
	go vet -tags system,crashpoints,testclock ./...
	go tool staticcheck ./...
	@if command -v govulncheck >/dev/null; then govulncheck ./...; else echo 'govulncheck is not installed: skipped'; fi

fuzz: ## fuzz each parser of outside bytes for FUZZTIME
	@for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzzminimizetime 5x -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

# Those that boot a machine wait most of their time: the others run beside them.
# With TELL= they tell of what failed alone.
MACHINES := TestClamAVOfDebian|TestFirewallOfAMachine|TestPackage|TestAgentUpdatesItself|TestATrialOutlives|TestServiceUnderSystemd

system: ## run the tests with real parts (as root, at most 45 minutes)
	$(MAKE) -j2 -Otarget system-machines system-parts

system-machines:
	go test -count=1 -tags system -timeout 45m $(TELL) -run '$(MACHINES)' ./internal/systemtest

system-parts:
	go test -count=1 -tags system -timeout 45m $(TELL) -skip '$(MACHINES)' ./internal/systemtest/... ./firewall/...

soak: ## the long ones, hours: fuzz each parser for ten minutes, cut the power everywhere, twice
	$(MAKE) fuzz FUZZTIME=10m
	FRESHET_SOAK=1 go test -timeout 4h -run 'PowerCut|TheDisk|Stopped|AnyStep|FailingDisk|Corpora' ./updater ./publish ./internal/delta
	FRESHET_SOAK=1 go test -timeout 2h -run 'Enrolling|Enrolls|AtEachStep' ./agent ./cmd/freshet ./cmd/freshet-publish
	FRESHET_SOAK=1 go test -timeout 1h -run TestAnAccident ./modules/supervisor
	FRESHET_SOAK=1 go test -tags system -timeout 4h -v -run 'TestPowerCutOnExt4|HangsAtAnyStep' ./internal/systemtest

bench: ## compare with other tools, side by side; writes docs/benchmarks.md
	go run ./internal/bench -corpora $(CORPORA) -out docs/benchmarks.md

release: ## static programs, Debian packages, checksums and their signature (SIGN_KEY=FILE) into dist/
	VERSION='$(VERSION)' SIGN_KEY='$(SIGN_KEY)' packaging/release

clean: ## remove what was built
	rm -rf bin dist
