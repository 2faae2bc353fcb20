//! User name maps: which roles the name of a certificate may be (pg_ident.conf; src/backend/libpq/hba.c, check_ident_usermap).

use std::fmt;

use super::index::MapIndex;
use super::pattern::Pattern;
use super::surroundings::{Matching, Surroundings, Unknown};
use super::witness::Witness;
use crate::types::RoleName;

/// A map's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapName(Box<str>);

/// One line of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapLine {
    /// The map that it belongs to.
    pub map: MapName,
    /// The certificate's name that it is about.
    pub system_user: SystemUser,
    /// The role that this name may be.
    pub pg_user: PgUser,
    /// How the operator finds it: `ident.staff[0]`, or `FILE:LINE`.
    pub source: Box<str>,
}

/// The SYSTEM-USERNAME column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemUser {
    /// This name, to the byte.
    Name(Box<[u8]>),
    /// `/regex`: every name that it matches.
    Matching(Pattern),
}

/// The PG-USERNAME column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PgUser {
    /// `all`.
    All,
    /// `+role`: every member of it, direct or indirect.
    Group(RoleName),
    /// This role.
    Name(RoleName),
    /// `/regex`: every role whose name it matches.
    Matching(Pattern),
    /// The role whose name is these two around what the first group of the line's regular expression took: the first `\1`.
    Template {
        /// What stands before it.
        before: Box<[u8]>,
        /// What stands behind it.
        after: Box<[u8]>,
    },
}

/// Every map, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityMaps {
    lines: Vec<MapLine>,
    index: MapIndex,
}

/// How a map line stands to a name and a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineMatch {
    /// It admits the name as this role.
    Admits(RoleName),
    /// The certificate's name is not this line's.
    SystemUserDiffers,
    /// The requested role is not this line's.
    PgUserDiffers,
    /// The line asks for `\1`, and its regular expression has no group.
    NoCapture,
    /// Whether the requested role is this line's depends on memberships that are not known.
    Unknown,
}

/// What a map says of a name.
#[derive(Debug)]
pub(super) enum Mapped<'a> {
    /// This line admits it, as this role.
    As(RoleName, &'a MapLine),
    /// No line does.
    Nobody,
    /// Two lines yield different roles, and the client's wish does not count.
    Ambiguous,
    /// This line asks for what its regular expression does not take; PostgreSQL looks no further.
    NoCapture(&'a MapLine),
    /// It depends on what is not known.
    Unknown(Unknown),
}

impl MapName {
    /// A map's name; `None` if it is empty.
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty()).then(|| Self(name.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_debug(), f)
    }
}

impl fmt::Debug for MapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl IdentityMaps {
    /// Maps of these lines.
    pub fn new(lines: Vec<MapLine>) -> Self {
        let index = MapIndex::new(&lines);
        Self { lines, index }
    }

    /// Every line, in order.
    pub fn lines(&self) -> &[MapLine] {
        &self.lines
    }

    /// Whether any line can depend on the surroundings.
    pub(super) fn look_around(&self) -> bool {
        self.lines.iter().any(MapLine::asks_memberships)
    }

    /// The lines of one map.
    pub fn of<'a>(&'a self, map: &'a MapName) -> impl Iterator<Item = &'a MapLine> {
        self.lines.iter().filter(move |line| line.map == *map)
    }

    /// The lines of one map that can be about `name`, or all of them for a witness who wants to see them.
    fn about<'a, W: Witness>(&'a self, map: &'a MapName, name: &str, _: &W) -> impl Iterator<Item = &'a MapLine> + use<'a, W> {
        let all = W::THOROUGH.then(|| self.of(map)).into_iter().flatten();
        let candidates = (!W::THOROUGH).then(|| self.index.candidates(map, name)).into_iter().flatten();
        all.chain(candidates.filter_map(|number| self.lines.get(number)))
    }

    /// Whether `map` admits `name` as `requested`. Any line that does suffices.
    pub(super) fn admit<'a>(
        &'a self,
        map: &'a MapName,
        name: &str,
        requested: &RoleName,
        surroundings: &Surroundings,
        witness: &mut impl Witness,
    ) -> Mapped<'a> {
        let mut open = None;
        for line in self.about(map, name, witness) {
            let outcome = line.matches(name, requested, surroundings);
            witness.map_line(line, &outcome);
            match outcome {
                LineMatch::Admits(role) => return Mapped::As(role, line),
                LineMatch::SystemUserDiffers | LineMatch::PgUserDiffers => {}
                LineMatch::Unknown => open = Some(Unknown::Memberships),
                LineMatch::NoCapture => return open.map_or(Mapped::NoCapture(line), Mapped::Unknown),
            }
        }
        open.map_or(Mapped::Nobody, Mapped::Unknown)
    }

    /// The one role that `map` yields for `name`, whatever the client asks for.
    pub(super) fn assign<'a>(&'a self, map: &'a MapName, name: &str, witness: &mut impl Witness) -> Mapped<'a> {
        let mut found: Option<(RoleName, &MapLine)> = None;
        for line in self.about(map, name, witness) {
            let outcome = line.yields(name);
            witness.map_line(line, &outcome);
            let role = match outcome {
                LineMatch::Admits(role) => role,
                LineMatch::NoCapture => return Mapped::NoCapture(line),
                LineMatch::SystemUserDiffers | LineMatch::PgUserDiffers | LineMatch::Unknown => continue,
            };
            match &found {
                Some((before, _)) if *before != role => return Mapped::Ambiguous,
                Some(_) => {}
                None => found = Some((role, line)),
            }
        }
        found.map_or(Mapped::Nobody, |(role, line)| Mapped::As(role, line))
    }
}

impl MapLine {
    fn matches(&self, name: &str, requested: &RoleName, surroundings: &Surroundings) -> LineMatch {
        if !self.system_user.matches(name) {
            return LineMatch::SystemUserDiffers;
        }
        let matching = match &self.pg_user {
            PgUser::All => Matching::Yes,
            PgUser::Group(role) => surroundings.is_member_of(role),
            PgUser::Name(role) => (role == requested).into(),
            PgUser::Matching(pattern) => pattern.is_match(requested.as_bytes()).into(),
            PgUser::Template { before, after } => match self.system_user.capture(name) {
                Some(taken) => ([before, taken, after].concat() == requested.as_bytes()).into(),
                None => return LineMatch::NoCapture,
            },
        };
        match matching {
            Matching::Yes => LineMatch::Admits(requested.clone()),
            Matching::No => LineMatch::PgUserDiffers,
            Matching::Unknown(_) => LineMatch::Unknown,
        }
    }

    /// The role that the line fixes for `name`.
    fn yields(&self, name: &str) -> LineMatch {
        if !self.system_user.matches(name) {
            return LineMatch::SystemUserDiffers;
        }
        let role = match &self.pg_user {
            PgUser::Name(role) => Some(role.clone()),
            PgUser::Template { before, after } => match self.system_user.capture(name) {
                Some(taken) => RoleName::exact(&[before, taken, after].concat()),
                None => return LineMatch::NoCapture,
            },
            PgUser::All | PgUser::Group(_) | PgUser::Matching(_) => None,
        };
        role.map_or(LineMatch::PgUserDiffers, LineMatch::Admits)
    }

    /// Whether it can depend on the memberships of the requested role.
    pub fn asks_memberships(&self) -> bool {
        matches!(self.pg_user, PgUser::Group(_))
    }

    /// Whether the line fixes the role, so that a rule of `user_name: mapped` can use it.
    pub fn fixes_role(&self) -> bool {
        match self.pg_user {
            PgUser::Name(_) | PgUser::Template { .. } => true,
            PgUser::All | PgUser::Group(_) | PgUser::Matching(_) => false,
        }
    }
}

impl SystemUser {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => **own == *name.as_bytes(),
            Self::Matching(pattern) => pattern.is_match(name.as_bytes()),
        }
    }

    /// What stands for `\1` in the role's name.
    fn capture<'a>(&self, name: &'a str) -> Option<&'a [u8]> {
        match self {
            Self::Name(_) => None,
            Self::Matching(pattern) => pattern.capture(name.as_bytes()),
        }
    }
}
