# `make test` is the whole check: what a developer runs and what CI runs are the same.
# `make demo` tells the whole story on this machine, from the build to a psql line to copy.

.PHONY: demo fuzz setup test

demo:
	tests/setup.sh demo
	cargo build --release
	cargo run --quiet --release -- demo

test: setup
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test

# Coverage-guided, FUZZ_SECONDS for each target; the check runs the same bodies for seconds. libFuzzer's flags want a nightly, or this.
FUZZ_SECONDS ?= 300
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	for target in startup frontend_scanner backend_scanner certificate config; do \
	  case $$target in config) seeds="tests/config/valid tests/config/invalid config" ;; *) seeds=tests/vectors ;; esac; \
	  mkdir -p tests/fuzz/corpus/$$target; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz $$target tests/fuzz/corpus/$$target $$seeds \
	    -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=8192 || exit 1; \
	done

setup:
	tests/setup.sh
