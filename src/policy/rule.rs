//! One line of pg_hba.conf: whom it matches and what it then asks for (src/backend/libpq/hba.c).

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Replication, Request};
use crate::types::{DatabaseName, RoleName};

/// A rule. The first one whose `database`, `user` and `address` all match a request decides; nothing falls through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which databases it matches; any one suffices.
    pub databases: Vec<DatabasePattern>,
    /// Which requested roles it matches; any one suffices.
    pub users: Vec<UserPattern>,
    /// Where the client may be.
    pub address: AddressPattern,
    /// What it asks of whom it matches.
    pub method: Method,
    /// What its sessions are held to.
    pub bounds: Bounds,
    /// How the operator finds it: `hba[0]`, or later a file and line.
    pub source: Box<str>,
}

/// What the sessions of a rule are held to; what it leaves open is as for all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The most sessions by this rule at a time.
    pub max_connections: Option<usize>,
    /// How long a session may be idle.
    pub idle_session_timeout: Option<Duration>,
    /// How long a session may live.
    pub max_session_lifetime: Option<Duration>,
    /// Whether its sessions may take the last of the slots.
    pub reserved: bool,
}

/// One entry of the database column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabasePattern {
    /// `all`: every database, but never physical replication.
    All,
    /// `replication`: physical replication, and nothing else.
    Replication,
    /// This database.
    Name(DatabaseName),
}

/// One entry of the user column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserPattern {
    /// `all`.
    All,
    /// This role.
    Name(RoleName),
}

/// The address column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// `all`: every address of both families.
    All,
    /// A CIDR block.
    Network(IpNet),
}

/// What a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A client certificate whose name is the requested role.
    Cert,
    /// Nothing: whom it matches is refused.
    Reject,
}

impl Rule {
    /// Whether every column matches.
    pub fn matches(&self, request: &Request) -> bool {
        self.address.matches(request.address.ip())
            && self.databases.iter().any(|pattern| pattern.matches(request))
            && self.users.iter().any(|pattern| pattern.matches(&request.user))
    }
}

impl DatabasePattern {
    /// As `check_db`: a physical walsender matches the keyword `replication` and nothing else, not even its database's name.
    fn matches(&self, request: &Request) -> bool {
        match (self, request.replication) {
            (Self::Replication, replication) => replication == Replication::Physical,
            (Self::All | Self::Name(_), Replication::Physical) => false,
            (Self::All, Replication::None | Replication::Logical) => true,
            (Self::Name(name), Replication::None | Replication::Logical) => *name == request.database,
        }
    }
}

impl UserPattern {
    fn matches(&self, user: &RoleName) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => name == user,
        }
    }
}

impl AddressPattern {
    fn matches(&self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Network(network) => network.contains(&address),
        }
    }
}
