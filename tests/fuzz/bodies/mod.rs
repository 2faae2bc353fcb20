//! What must hold for any bytes whatever: one function for each door that bytes come in by.
//!
//! libFuzzer calls them through `../targets`, and `cargo test` over mutations of what is recorded in `tests/vectors`. They panic
//! where something does not hold.

mod certificate;
mod config;
mod login;
mod proxy;
mod rules;
mod scanner;
mod session;
mod startup;

pub use certificate::certificate;
pub use config::config;
pub use login::backend_login;
pub use proxy::proxy;
pub use rules::{regular_expression, rule_files};
pub use scanner::frontend_scanner;
pub use session::backend_scanner;
pub use startup::startup;
