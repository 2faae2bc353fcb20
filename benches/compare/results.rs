//! What was measured: samples by measure and front, medians, ratios.

use std::collections::BTreeMap;

use crate::fronts::Front;
use crate::measure::median;

/// A group of measures: a table and a plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Transactions,
    RoundTrips,
    Logins,
    Bulk,
    Memory,
    Scaling,
}

/// Which way a value should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
}

/// What is measured: `name` says of what, `unit` in what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    pub section: Section,
    pub name: String,
    pub unit: &'static str,
    pub better: Better,
}

/// A measure with its samples, a front a list.
pub struct Row {
    pub measure: Measure,
    samples: BTreeMap<Front, Vec<f64>>,
}

/// Everything, in the order in which it was first measured.
#[derive(Default)]
pub struct Results {
    pub rows: Vec<Row>,
}

impl Section {
    pub const ALL: [Self; 6] = [Self::Transactions, Self::RoundTrips, Self::Logins, Self::Bulk, Self::Memory, Self::Scaling];

    /// As a file's name.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::RoundTrips => "round-trips",
            Self::Logins => "logins",
            Self::Bulk => "bulk",
            Self::Memory => "memory",
            Self::Scaling => "scaling",
        }
    }

    /// What its figures are.
    pub fn title(self) -> &'static str {
        match self {
            Self::Transactions => "Transactions: pgbench -S -M prepared, real PostgreSQL",
            Self::RoundTrips => "Round trips: SELECT 1, one client",
            Self::Logins => "Logins: full handshake, session, goodbye; four at a time",
            Self::Bulk => "Bulk: one session",
            Self::Memory => "Memory: idle sessions, fake backend",
            Self::Scaling => "Scaling: Postern alone with more and more idle sessions, fake backend",
        }
    }
}

impl Results {
    pub fn add(&mut self, measure: &Measure, front: Front, value: f64) {
        if !self.rows.iter().any(|row| row.measure == *measure) {
            self.rows.push(Row { measure: measure.clone(), samples: BTreeMap::new() });
        }
        let row = self.rows.iter_mut().find(|row| row.measure == *measure).unwrap();
        row.samples.entry(front).or_default().push(value);
    }

    /// PostgreSQL's own work is in what its processes take, so native TLS costs what they take more than by the Unix socket, which
    /// costs nothing then.
    pub fn subtract_socket(&mut self, measure: &Measure) {
        let Some(row) = self.rows.iter_mut().find(|row| row.measure == *measure) else { return };
        let Some(mut socket) = row.samples.remove(&Front::Socket) else { return };
        let base = median(&mut socket);
        row.samples.entry(Front::Native).or_default().iter_mut().for_each(|sample| *sample -= base);
    }

    /// The rows of a section.
    pub fn of(&self, section: Section) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.measure.section == section)
    }

    /// The row that a goal speaks of.
    pub fn find(&self, name: &str, unit: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.measure.name == name && row.measure.unit == unit)
    }
}

impl Row {
    /// The median of a front's samples.
    pub fn value(&self, front: Front) -> Option<f64> {
        let mut samples = self.samples.get(&front)?.clone();
        Some(median(&mut samples))
    }

    /// The best of the peers.
    pub fn best_peer(&self) -> Option<f64> {
        let peers = Front::ALL.into_iter().filter(|front| front.is_peer()).filter_map(|front| self.value(front));
        match self.measure.better {
            Better::Lower => peers.min_by(f64::total_cmp),
            Better::Higher => peers.max_by(f64::total_cmp),
        }
    }

    /// Postern's value as a part of another.
    pub fn ratio_to(&self, other: Option<f64>) -> Option<f64> {
        Some(self.value(Front::Postern)? / other.filter(|other| *other > 0.0)?)
    }
}
