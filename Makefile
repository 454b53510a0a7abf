PREFIX ?= /usr/local
DOCDIR ?= $(PREFIX)/share/doc/checkpointctl
# A Go that is too old fetches the one that go.mod asks for.
export GOTOOLCHAIN ?= auto
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GO ?= $(shell command -v go 2>/dev/null || echo /usr/local/go/bin/go)
LIBEXEC = libexec/checkpointctl
LDFLAGS = -s -w -X github.com/checkpointctl/checkpointctl/cmd/checkpointctl/cli.Version=$(VERSION)

.PHONY: build tar runtime install packages demo picture test test-all test-beside unit lint e2e e2e-core e2e-long apps test-packages test-vm test-dockers test-dockers-more soak fuzz bench bench-short setup clean

build: tar runtime
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/checkpointctl ./cmd/checkpointctl

# The stand-in for tar, which CRIU starts while a container is frozen.
tar:
	mkdir -p $(LIBEXEC)
	$(CC) -O2 -Wall -Wextra -static -s -o $(LIBEXEC)/tar cmd/tar/tar.c

# The stand-in for runc, which containerd's shim starts during a restore.
runtime:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(LIBEXEC)/checkpointctl-runtime ./cmd/checkpointctl-runtime

install: build
	install -D -m 0755 bin/checkpointctl $(DESTDIR)$(PREFIX)/bin/checkpointctl
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/libexec/checkpointctl libexec/checkpointctl/*
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/libexec/docker/cli-plugins
	ln -sf ../../../bin/checkpointctl $(DESTDIR)$(PREFIX)/libexec/docker/cli-plugins/docker-checkpointctl
	bin/checkpointctl generate $(DESTDIR)$(PREFIX)/share
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR) LICENSE README.md CHANGELOG.md
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/docs docs/*.md docs/*.svg docs/checkpointctl.schema.json
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/docs/design docs/design/*
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/examples configs/checkpointctl.yaml configs/prometheus/*
	for unit in configs/systemd/*; do \
		sed 's,/usr/local/bin/,$(PREFIX)/bin/,' $$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}; done

# A deb, an rpm and a release archive in dist/.
packages:
	env -u MAKEFLAGS -u MFLAGS scripts/packages.sh $(VERSION)

setup:
	scripts/setup.sh --no-smoke

demo:
	scripts/demo.sh

# README's picture, docs/demo.svg, of a real session.
picture: build
	scripts/picture.sh

# For a change, on real Docker and CRIU: a quarter of an hour at most, on two cores.
test: setup unit e2e-core
	@echo "these tests passed; make test-all runs the others, too"

# Everything. A test that cannot run fails.
test-all: test lint apps
	$(MAKE) -j2 test-vm test-beside # the VM takes longest, on one processor
	@echo "all tests passed"
test-beside:
	$(MAKE) -j1 e2e-long test-dockers test-packages

unit:
	test -z "$$(gofmt -l bench cmd internal test 2>/dev/null)"
	$(GO) vet ./...
	$(GO) test ./bench/... ./test/...
	CGO_ENABLED=1 $(GO) test -race ./cmd/... ./internal/...

lint:
	scripts/lint.sh

# Shows each result when it is there, and at the end again what failed.
gotestsum = PATH=$(dir $(GO)):$$PATH bin/tools/gotestsum --format testname
bin/tools/gotestsum: tools/go.mod
	GOTOOLCHAIN=auto $(GO) -C tools build -o ../bin/tools/ gotest.tools/gotestsum

# The suite is in two parts, by the names in test/e2e/long.txt. The tests named
# Travels are in test-dockers, since they are of two Dockers.
long := $(shell sed -n '/^Test/{s,/,$$/^,g;s/.*/^&$$/p}' test/e2e/long.txt | paste -sd'|')
e2e: e2e-core e2e-long
e2e-core: part = -skip '$(long)|Travels'
e2e-long: part = -run '$(long)'
e2e-core e2e-long: bin/tools/gotestsum
	$(GO) vet -tags e2e ./test/e2e/...
	rm -f bin/$@-rerun.txt # one that fails beside others is run once more, alone, and named at the end
	$(gotestsum) --packages ./test/e2e/ --rerun-fails=1 --rerun-fails-max-failures=4 --rerun-fails-run-root-test \
		--rerun-fails-report bin/$@-rerun.txt -- -tags e2e -count=1 -timeout 40m -parallel 3 $(part)
	@test ! -s bin/$@-rerun.txt || sed '1i e2e: these failed at first and passed alone; see why:' bin/$@-rerun.txt

# Real applications under load, once each. scripts/apps.sh does it often, for
# the table of docs/reliability.md.
apps: bin/tools/gotestsum
	$(GO) vet -tags e2e,apps ./test/e2e/
	$(gotestsum) -- -tags e2e,apps -count=1 -timeout 15m -parallel 4 -run '^(TestApplications|TestNewClients)$$' ./test/e2e/

# The packages, in a Debian root of their own.
test-packages: packages bin/tools/gotestsum
	$(GO) vet -tags e2e ./test/packages/
	$(gotestsum) -- -tags e2e -count=1 -timeout 5m ./test/packages/

# What needs a kernel with soft-dirty, cgroup v2's controllers, or a reboot, in a VM.
test-vm: bin/tools/gotestsum
	$(GO) vet -tags e2e,reboot ./test/e2e/
	$(gotestsum) --raw-command env -u MAKEFLAGS -u MFLAGS test/vm/suite.sh

# Restores by newer Dockers, beside the host's, also of what the host's has saved.
restores = TestKindsOfContainers|TestTuningComesBack|TestSocketsKeepTheirOptions|TestEstablishedTCP|TestTCPClose|TestFileLock|TestEncrypted$$|TestDockerKnows|TestStopAndComeBack|TestLogThatMovedOn|KillInARestore|DockerdInARestore|TakenPort|DockerEnds|TestTerminal|TestSysctlsComeBack|TestPublishedConnectionGoesOn|TestDockerServes|TestLogDrivers|TestRuntimeInstall|TestContainerdOfTheSystem|TestDockersThatCannotRestore|TestFilesIntoANewContainer$$|Travels
# Another image store is another place for a container's files; all else is as it was.
files = TestKindsOfContainers|TestEstablishedTCP$$|TestDockerKnows|TestStopAndComeBack|TestLogThatMovedOn|TestDockerServes|TestFilesIntoANewContainer$$|Travels
# What freezes cgroups, and moves tasks between them, is other on v2.
cgroup2 = TestKindsOfContainers/kinds/^interactive_tty$$|TestEstablishedTCP$$|TestNewContainer$$|TestKillAtEveryStage|TestConsistentGroup$$|TestConsistentGroupIsKilled|TestConsistentGroupWhoseReaderIsGone|TestRestoreOfAGroup|TestPark
test-dockers: setup bin/tools/gotestsum
	$(gotestsum) --raw-command env -u MAKEFLAGS -u MFLAGS test/dockers/suite.sh 26 host 28 '28-containerd=$(files)' '28-cgroup2=$(cgroup2)' -- -test.run '$(restores)'

# The same by Dockers that Debian does not have, which are built first: that takes
# half an hour.
test-dockers-more: setup bin/tools/gotestsum
	$(gotestsum) --raw-command env -u MAKEFLAGS -u MFLAGS test/dockers/suite.sh host 25 29 -- -test.run '$(restores)'

# Beside its peers: writes docs/performance.json and what is shown of it.
bench: build
	$(GO) run ./bench

# The same with little to measure, to show that it works.
bench-short: build
	$(GO) run ./bench -short

# Kills at random times, and the table of docs/reliability.md.
soak:
	scripts/soak.sh

# Ten minutes for each fuzz target, and their table of docs/reliability.md.
fuzz:
	scripts/fuzz.sh

clean:
	rm -rf bin dist libexec
