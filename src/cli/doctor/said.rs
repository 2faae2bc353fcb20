//! What PostgreSQL says of itself to `backend.lookup_role`: where it listens, and which roles can log in.

use std::time::Duration;

use tokio::time::timeout;

use crate::backend::{BackendSettings, Client, Passfile, Row};
use crate::error::BackendFailure;
use crate::types::RoleName;

/// How long one question to PostgreSQL may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) listen_addresses: String,
    /// Superusers that can log in.
    pub(super) superusers: Vec<RoleName>,
    /// The other roles that can.
    pub(super) roles: Vec<RoleName>,
}

/// Asks; `None` without a role to ask as.
pub(super) async fn ask(backend: &BackendSettings, passfile: Option<&Passfile>) -> Option<Result<Said, BackendFailure>> {
    let lookup = backend.lookup.as_ref()?;
    let ask = async {
        let mut client = Client::log_in(backend, passfile, &lookup.role, "postgres", PATIENCE).await?;
        let listen_addresses = client.query("SELECT pg_catalog.current_setting('listen_addresses')", &[]).await?;
        let (superusers, roles) = (client.query(SUPERUSERS, &[]).await?, client.query(ROLES, &[]).await?);
        client.close().await;
        let listen_addresses = listen_addresses.into_iter().flatten().flatten().next().unwrap_or_default();
        Ok(Said {
            listen_addresses: String::from_utf8_lossy(&listen_addresses).into_owned(),
            superusers: names(superusers),
            roles: names(roles),
        })
    };
    Some(timeout(PATIENCE, ask).await.unwrap_or(Err(BackendFailure::Silent)))
}

const SUPERUSERS: &str = "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolcanlogin AND r.rolsuper LIMIT 32";
const ROLES: &str = "SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper LIMIT 32";

fn names(rows: Vec<Row>) -> Vec<RoleName> {
    rows.into_iter().flatten().flatten().filter_map(|name| RoleName::exact(&name)).collect()
}
