//! What must hold under fire: small in the check, where it may only be true, and full by `make soak`, where it must also be quick.
//!
//! The daemon stands before a backend that costs nothing, so that PostgreSQL is not what is measured; the faults alone are a real server's.
//! Each kind of fire is a module with one function of a [`Size`]; `make soak` runs all of them, one after the other, and a further one joins
//! by being a test with `soak` in its name that is ignored by default. Goals of time and memory are judged there and nowhere else.

mod attackers;
mod churn;
mod clients;
mod faults;
mod floods;
mod idle;
mod life;
mod lists;
mod memory;
mod revocation;
mod rotation;
mod siege;
mod stand;

pub use stand::cpu_of;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// In the check: the same code, for seconds.
    Small,
    /// By `make soak`.
    Full,
}

impl Size {
    fn of(self, small: usize, full: usize) -> usize {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }

    /// Says a figure, and holds a full run to its goal.
    #[track_caller]
    fn judge(self, what: &str, figure: f64, goal: f64, unit: &str) {
        eprintln!("soak: {what}: {figure:.2} {unit} (at most {goal} {unit})");
        assert!(self == Self::Small || figure <= goal, "{what}: {figure} {unit} are more than {goal}");
    }
}
