//! The `postern` command.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The C library's allocator keeps nearly all that a busy hour took; this one gives it back. Unprefixed, it is aws-lc's as well.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    postern::cli::run()
}
