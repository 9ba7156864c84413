# make demo and make test are the two commands; the rest is for working here.
# The work is in scripts/, which also run by themselves.

RUNNER ?= auto
ARGS   ?=
export AMLOCAL_CACHE ?= $(CURDIR)/.cache/amlocal

.PHONY: help build demo test base-image sample-image image bench lint fuzz test-az-ml coverage clean

help:
	@echo "make demo [RUNNER=auto|process|docker] [ARGS=--offline]   the documented flow, end to end"
	@echo "make test       all tests; AMLOCAL_REQUIRE=all fails on what cannot run here"
	@echo "make build      bin/amlocal"
	@echo "make base-image [SUITE=bookworm]   the Python image for scoring scripts, where none can be pulled"
	@echo "make sample-image   the Go scorer as an image FROM scratch: amlocal/goscorer:1"
	@echo "make image [IMAGE=amlocal/emulator:dev]   the emulator as an image FROM scratch, for docker-compose.yml"
	@echo "make bench      measure; writes docs/performance.md"
	@echo "make lint       golangci-lint"
	@echo "make fuzz       fuzz every parser, and the property tests with many cases; FUZZTIME=20s CHECKS=20000"
	@echo "make test-az-ml   opt-in: the how-to with the real ml extension of az, where it is installed"
	@echo "make coverage   run the tests, write docs/coverage.md"
	@echo "make clean      remove bin/ and .cache/"

build:
	@scripts/build

demo:
	@RUNNER=$(RUNNER) scripts/demo $(ARGS)

test:
	@scripts/test

base-image:
	@SUITE="$(SUITE)" scripts/base-image

sample-image:
	@scripts/sample-image

image:
	@scripts/image

bench:
	@scripts/bench $(ARGS)

lint:
	@scripts/lint

fuzz:
	@scripts/fuzz

test-az-ml:
	@scripts/test-az-ml

coverage:
	@scripts/coverage

clean:
	rm -rf bin .cache
