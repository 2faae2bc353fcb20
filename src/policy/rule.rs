//! One line of pg_hba.conf: whom it matches and what it then asks for (src/backend/libpq/hba.c).

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::map::MapName;
use super::pattern::Pattern;
use super::surroundings::{Matching, Surroundings, Unknown};
use super::{Replication, Request};
use crate::identity::ClientName;
use crate::types::{DatabaseName, RoleName, SettingName};

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
    /// Whether who comes without a certificate is told so before the method has a say: `clientcert`, which `cert` implies.
    pub clientcert: bool,
    /// Which name of the certificate it compares.
    pub clientname: ClientName,
    /// The map that says which roles that name may be; without one it is the role, to the byte.
    pub map: Option<MapName>,
    /// As whom it lets the client in.
    pub user_name: UserName,
    /// Settings that its clients may not give at startup.
    pub denied_parameters: Vec<SettingName>,
    /// What its sessions are held to.
    pub bounds: Bounds,
    /// How the operator finds it: `hba[0]`, or `FILE:LINE`.
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
    /// `sameuser`: the database of the requested role's name.
    SameUser,
    /// `samerole`, once `samegroup`: a database of the name of a role that the requested one is a member of.
    SameRole,
    /// `replication`: physical replication, and nothing else.
    Replication,
    /// This database.
    Name(DatabaseName),
    /// `/regex`: every database whose name it matches.
    Matching(Pattern),
}

/// One entry of the user column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserPattern {
    /// `all`.
    All,
    /// `+role`: every member of it, direct or indirect.
    Group(RoleName),
    /// This role.
    Name(RoleName),
    /// `/regex`: every role whose name it matches.
    Matching(Pattern),
}

/// The address column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// `all`: every address of both families.
    All,
    /// A CIDR block.
    Network(IpNet),
    /// `samehost`: one of this machine's own addresses.
    SameHost,
    /// `samenet`: an address in one of the networks that this machine is connected to.
    SameNet,
}

/// What a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A client certificate whose name may be the requested role.
    Cert,
    /// The same, in the words of `trust` with `clientcert=verify-full`.
    TrustWithCertificate,
    /// The same, and then the password that PostgreSQL asks for: `scram-sha-256` with `clientcert=verify-full`.
    ScramWithCertificate,
    /// Nothing: whom it matches is refused.
    Reject,
    /// A method that asks for no certificate, by its name in pg_hba.conf: the rule keeps its place, and whom it matches is refused.
    Unsupported(&'static str),
}

/// Which role a rule lets the client in as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserName {
    /// The requested one, if the certificate may be it.
    #[default]
    Requested,
    /// The one that the map yields; what the client asks for is ignored.
    Mapped,
}

/// The columns that decide whether a rule matches, in the order in which they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// `address`.
    Address,
    /// `database`.
    Database,
    /// `user`.
    User,
}

/// How a rule stands to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleMatch {
    /// Every column matches: this rule decides.
    Matches,
    /// This column does not match.
    Differs(Column),
    /// Whether this column matches depends on what is not known.
    Unknown(Column, Unknown),
}

impl Rule {
    /// Compares the columns.
    pub(super) fn matches(&self, request: &Request, surroundings: &Surroundings) -> RuleMatch {
        let mut open = None;
        for column in [Column::Address, Column::Database, Column::User] {
            let matching = match column {
                Column::Address => self.address.matches(request.address.ip(), surroundings),
                Column::Database => Matching::any(self.databases.iter().map(|pattern| pattern.matches(request, surroundings))),
                Column::User => Matching::any(self.users.iter().map(|pattern| pattern.matches(&request.user, surroundings))),
            };
            match matching {
                Matching::Yes => {}
                Matching::No => return RuleMatch::Differs(column),
                Matching::Unknown(what) => open = open.or(Some((column, what))),
            }
        }
        open.map_or(RuleMatch::Matches, |(column, what)| RuleMatch::Unknown(column, what))
    }

    /// Whether it can let anybody in.
    pub fn admits(&self) -> bool {
        match self.method {
            Method::Cert | Method::TrustWithCertificate | Method::ScramWithCertificate => true,
            Method::Reject | Method::Unsupported(_) => false,
        }
    }

    /// Whether it can depend on the surroundings.
    pub(super) fn looks_around(&self) -> bool {
        matches!(self.address, AddressPattern::SameHost | AddressPattern::SameNet) || self.asks_memberships()
    }

    /// Whether it can depend on the memberships of the requested role.
    pub fn asks_memberships(&self) -> bool {
        self.databases.contains(&DatabasePattern::SameRole) || self.users.iter().any(|pattern| matches!(pattern, UserPattern::Group(_)))
    }
}

impl Method {
    /// The word in pg_hba.conf.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::TrustWithCertificate => "trust",
            Self::ScramWithCertificate => "scram-sha-256",
            Self::Reject => "reject",
            Self::Unsupported(word) => word,
        }
    }
}

impl DatabasePattern {
    /// The one database that it can match.
    pub(super) fn name(&self) -> Option<&DatabaseName> {
        match self {
            Self::Name(name) => Some(name),
            Self::All | Self::SameUser | Self::SameRole | Self::Replication | Self::Matching(_) => None,
        }
    }

    /// As `check_db`: a physical walsender matches the keyword `replication` and nothing else, not even its database's name.
    fn matches(&self, request: &Request, surroundings: &Surroundings) -> Matching {
        match (self, request.replication) {
            (Self::Replication, replication) => (replication == Replication::Physical).into(),
            (Self::All | Self::SameUser | Self::SameRole | Self::Name(_) | Self::Matching(_), Replication::Physical) => Matching::No,
            (Self::All, Replication::None | Replication::Logical) => Matching::Yes,
            (Self::SameUser, Replication::None | Replication::Logical) => (request.database.as_bytes() == request.user.as_bytes()).into(),
            (Self::SameRole, Replication::None | Replication::Logical) => {
                RoleName::exact(request.database.as_bytes()).map_or(Matching::No, |role| surroundings.is_member_of(&role))
            }
            (Self::Name(name), Replication::None | Replication::Logical) => (*name == request.database).into(),
            (Self::Matching(pattern), Replication::None | Replication::Logical) => pattern.is_match(request.database.as_bytes()).into(),
        }
    }
}

impl UserPattern {
    /// The one role that it can match.
    pub(super) fn name(&self) -> Option<&RoleName> {
        match self {
            Self::Name(name) => Some(name),
            Self::All | Self::Group(_) | Self::Matching(_) => None,
        }
    }

    fn matches(&self, user: &RoleName, surroundings: &Surroundings) -> Matching {
        match self {
            Self::All => Matching::Yes,
            Self::Group(role) => surroundings.is_member_of(role),
            Self::Name(name) => (name == user).into(),
            Self::Matching(pattern) => pattern.is_match(user.as_bytes()).into(),
        }
    }
}

impl AddressPattern {
    fn matches(&self, address: IpAddr, surroundings: &Surroundings) -> Matching {
        match self {
            Self::All => Matching::Yes,
            Self::Network(network) => network.contains(&address).into(),
            Self::SameHost => surroundings.has_interface(|own| own.addr() == address),
            Self::SameNet => surroundings.has_interface(|own| own.contains(&address)),
        }
    }
}
