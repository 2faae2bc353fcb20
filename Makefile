# `make test` is the whole check: what a developer runs and what CI runs are the same.
# `make demo` tells the whole story on this machine, from the build to a psql line to copy.

.PHONY: bench bench-instructions bench-quick demo fuzz setup soak test

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
	for target in startup proxy frontend_scanner backend_scanner backend_login certificate config rule_files regular_expression; do \
	  case $$target in config) seeds="tests/config/valid tests/config/invalid config" ;; *) seeds=tests/vectors ;; esac; \
	  mkdir -p tests/fuzz/corpus/$$target; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz $$target tests/fuzz/corpus/$$target $$seeds \
	    -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -max_len=8192 || exit 1; \
	done

# Postern beside PostgreSQL's own TLS, PgBouncer, stunnel, HAProxy and nginx, into benches/results: a quarter of an hour on a quiet
# machine. The quick one shows its figures and keeps them in target/. BENCH_SECONDS is how long one front has its turn.
bench bench-quick:
	tests/setup.sh bench
	cargo bench --bench compare -- $(if $(filter bench,$@),full,quick)

# Instructions and system calls of a login, a round trip and a MiB, compared with those in benches/results and written there.
bench-instructions:
	tests/setup.sh bench
	cargo bench --bench compare -- instructions

# What must hold under fire, at full size, with the release build: an hour and a half, one of it the working life. The same code runs small in
# the check. SOAK names a part: siege, memory, bad_handshakes, churn, idle, faults, reader, client, rotation, revocation, crl, deny, life.
# Goals of time and memory fail it; run it on a quiet machine. SOAK_MINUTES is how long the working life lasts.
SOAK ?=
soak: setup
	cargo test --release --test it soak_$(SOAK) -- --ignored --nocapture --test-threads=1
	cargo test --release --test it scrape_of_5000 -- --ignored --nocapture

setup:
	tests/setup.sh
