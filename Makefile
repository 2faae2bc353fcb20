# `make test` is the whole check: what a developer runs and what CI runs are the same.

.PHONY: test setup

test: setup
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test

setup:
	tests/setup.sh
