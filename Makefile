# `make test` is the whole check: what a developer runs and what CI runs are the same.
# `make demo` tells the whole story on this machine, from the build to a psql line to copy.

.PHONY: demo test setup

demo:
	tests/setup.sh demo
	cargo build --release
	cargo run --quiet --release -- demo

test: setup
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test

setup:
	tests/setup.sh
