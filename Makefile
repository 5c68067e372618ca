.PHONY: help build test check gen bench

help: ## show this list
	@grep -E '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## build the static binary ./buildstar
	CGO_ENABLED=0 go build -o buildstar .

test: ## install what the tests need, run every check and test
	@go run ./internal/testall

test-%: ## one slow suite, whether it passed before or not; writes that it did
	@go run ./internal/testall $@

check: ## the quick half: formatting, vet, staticcheck, unit tests without -race
	@go run ./internal/testall gofmt "go vet" staticcheck
	go test ./...

gen: ## rebuild what is generated: the page's scripts and styles, the reference
	go run ./web/ui/build
	go run ./internal/reference

bench: ## measure the hot paths, beside a stock Buildbot master if one is installed
	go run ./bench
