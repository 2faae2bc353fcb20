//! A stopwatch: medians of many short samples, because a mean remembers every disturbance of a shared machine.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench uses a part of it, and ends where its setup fails"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one figure is measured.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least a sample takes: the clock's own cost vanishes in it.
const SAMPLE: Duration = Duration::from_millis(5);

/// Seconds of one call of `work`: the median over samples of as many calls as fill a sample.
pub fn seconds_per_call<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut calls = 1_u32;
    while time(&mut work, calls) < SAMPLE {
        calls = calls.saturating_mul(2);
    }
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < PATIENCE {
        samples.push(time(&mut work, calls).as_secs_f64() / f64::from(calls));
    }
    median(&mut samples)
}

fn time<T>(work: &mut impl FnMut() -> T, calls: u32) -> Duration {
    let begun = Instant::now();
    (0..calls).for_each(|_| drop(black_box(work())));
    begun.elapsed()
}

/// The middle of the samples; of an even number, the upper one.
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
