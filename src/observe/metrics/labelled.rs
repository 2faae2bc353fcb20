//! Series that differ by one label, whose values are an enum's and nothing else's.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A fieldless enum as a label.
pub(super) trait Label: Copy + fmt::Debug + Send + Sync + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, each at its own number.
    const ALL: &'static [Self];
    /// The value's place in `ALL`.
    fn index(self) -> usize;
    /// The value as a scrape shows it.
    fn code(self) -> &'static str;
}

/// A counter for each value. Clones count together.
#[derive(Debug)]
pub(super) struct Labelled<L> {
    counts: Arc<[AtomicU64]>,
    label: PhantomData<L>,
}

/// Counters or gauges of one scrape.
#[derive(Debug)]
pub(super) struct Values<L> {
    values: Vec<(L, i64)>,
    metric_type: MetricType,
}

impl<L: Label> Labelled<L> {
    /// Counts one.
    pub(super) fn add(&self, label: L) {
        if let Some(count) = self.counts.get(label.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counts above zero, in the enum's order.
    pub(super) fn occurred(&self) -> Vec<(L, u64)> {
        self.each().filter(|(_, count)| *count > 0).collect()
    }

    fn each(&self) -> impl Iterator<Item = (L, u64)> {
        L::ALL.iter().zip(&*self.counts).map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }
}

impl<L: Label> Default for Labelled<L> {
    fn default() -> Self {
        Self { counts: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(), label: PhantomData }
    }
}

impl<L> Clone for Labelled<L> {
    fn clone(&self) -> Self {
        Self { counts: Arc::clone(&self.counts), label: PhantomData }
    }
}

impl<L: Label> EncodeMetric for Labelled<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.each().try_for_each(|(label, count)| {
            encoder.encode_family(&[(L::NAME, label.code())])?.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl<L: Label> Values<L> {
    /// Counters.
    pub(super) fn counters(values: impl IntoIterator<Item = (L, u64)>) -> Self {
        let values = values.into_iter().map(|(label, value)| (label, i64::try_from(value).unwrap_or(i64::MAX))).collect();
        Self { values, metric_type: MetricType::Counter }
    }

    /// Gauges.
    pub(super) fn gauges(values: impl IntoIterator<Item = (L, i64)>) -> Self {
        Self { values: values.into_iter().collect(), metric_type: MetricType::Gauge }
    }
}

impl<L: Label> EncodeMetric for Values<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.values.iter().try_for_each(|(label, value)| {
            let labels = [(L::NAME, label.code())];
            let mut encoder = encoder.encode_family(&labels)?;
            match self.metric_type {
                MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value.unsigned_abs(), None),
                MetricType::Gauge | MetricType::Histogram | MetricType::Info | MetricType::Unknown => encoder.encode_gauge(value),
            }
        })
    }

    fn metric_type(&self) -> MetricType {
        self.metric_type
    }
}
