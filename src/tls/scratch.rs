//! A buffer for the length of one poll: memory by worker thread, not by connection.

use std::cell::Cell;

use super::records::{CONTROL_SIZE, OUR_RECORD_PLAINTEXT, RECORD_OVERHEAD};

/// The most plaintext that is read or written at once: what the relay reads and writes at once, in whole records.
pub(super) const CHUNK: usize = CHUNK_RECORDS * OUR_RECORD_PLAINTEXT;
const CHUNK_RECORDS: usize = 8;
/// A chunk in records, and what may come before them.
pub(super) const SCRATCH_SIZE: usize = CHUNK + CHUNK_RECORDS * RECORD_OVERHEAD + CONTROL_SIZE;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the buffer to `work`: `SCRATCH_SIZE` bytes of whatever was there last. Work inside work gets one of its own.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut scratch = SCRATCH.take();
    scratch.resize(SCRATCH_SIZE, 0);
    let outcome = work(&mut scratch);
    SCRATCH.set(scratch);
    outcome
}
