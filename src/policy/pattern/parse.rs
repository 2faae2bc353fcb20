//! Reads an advanced regular expression of the subset (src/backend/regex/regcomp.c, regc_lex.c).

use super::PatternFault;

/// Branches that stand beside each other between `|`; at least one.
#[derive(Debug)]
pub(super) struct Alternatives {
    pub(super) branches: Vec<Vec<Item>>,
}

/// An atom with its quantifier. All quantifiers are greedy.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) atom: Atom,
    pub(super) least: u8,
    /// `None`: no limit.
    pub(super) most: Option<u8>,
}

#[derive(Debug)]
pub(super) enum Atom {
    /// One byte out of these.
    Set(ByteSet),
    /// `^`
    Start,
    /// `$`
    End,
    /// `(...)`
    Group(Alternatives),
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteSet([u128; 2]);

impl Alternatives {
    /// Whether a group stands anywhere in it.
    pub(super) fn has_group(&self) -> bool {
        self.branches.iter().flatten().any(|item| matches!(item.atom, Atom::Group(_)))
    }
}

impl Item {
    /// Whether it stands once.
    pub(super) fn is_single(&self) -> bool {
        self.least == 1 && self.most == Some(1)
    }
}

impl ByteSet {
    fn new(contains: impl Fn(u8) -> bool) -> Self {
        let half = |first: u8| (0..128).filter(|bit| contains(first | bit)).fold(0, |bits, bit| bits | 1_u128 << bit);
        Self([half(0), half(128)])
    }

    fn contains(&self, byte: u8) -> bool {
        let [low, high] = self.0;
        let half = if byte.is_ascii() { low } else { high };
        half >> (byte & 127) & 1 == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0, 0]
    }

    fn or(&self, other: &Self) -> Self {
        Self::new(|byte| self.contains(byte) || other.contains(byte))
    }

    fn complement(&self) -> Self {
        Self::new(|byte| !self.contains(byte))
    }

    /// Its runs of neighbours, first and last.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u8, u8)> {
        let begins = |byte: &u8| self.contains(*byte) && byte.checked_sub(1).is_none_or(|before| !self.contains(before));
        let last = |first: u8| (first..=u8::MAX).take_while(|byte| self.contains(*byte)).last().unwrap_or(first);
        (0..=u8::MAX).filter(begins).map(move |first| (first, last(first)))
    }
}

/// Reads the whole of `source`.
pub(super) fn parse(source: &[u8]) -> Result<Alternatives, PatternFault> {
    if source.len() > LONGEST {
        return Err(PatternFault::new("is longer than 4096 bytes"));
    }
    if source.starts_with(b"***") {
        return Err(PatternFault::new("begins with the director ***"));
    }
    let mut parser = Parser { rest: source, depth: 0 };
    let alternatives = parser.alternatives()?;
    match parser.rest {
        [] => Ok(alternatives),
        _ => Err(PatternFault::invalid("holds a ) without its (")),
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, expected: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Up to the end, or to a `)`.
    fn alternatives(&mut self) -> Result<Alternatives, PatternFault> {
        let mut branches = vec![Vec::new()];
        loop {
            match self.rest.first() {
                None | Some(b')') => return Ok(Alternatives { branches }),
                Some(b'|') => {
                    self.next();
                    branches.push(Vec::new());
                }
                Some(_) => {
                    let item = self.item()?;
                    branches.last_mut().map(|branch| branch.push(item)).unwrap_or_default();
                }
            }
        }
    }

    fn item(&mut self) -> Result<Item, PatternFault> {
        let atom = match self.next().unwrap_or_default() {
            b'*' | b'+' | b'?' => return Err(PatternFault::invalid("holds a quantifier with nothing before it to repeat")),
            b'{' if self.rest.first().is_some_and(u8::is_ascii_digit) => {
                return Err(PatternFault::invalid("holds a quantifier with nothing before it to repeat"));
            }
            b'(' => Atom::Group(self.group()?),
            b'[' => Atom::Set(self.bracket()?),
            b'.' => Atom::Set(ByteSet::new(|_| true)),
            // Constraints take no quantifier.
            b'^' => return Ok(Item { atom: Atom::Start, least: 1, most: Some(1) }),
            b'$' => return Ok(Item { atom: Atom::End, least: 1, most: Some(1) }),
            b'\\' => Atom::Set(self.escape(false)?),
            byte => Atom::Set(ByteSet::new(|other| other == byte)),
        };
        let (least, most) = self.quantifier()?;
        Ok(Item { atom, least, most })
    }

    fn group(&mut self) -> Result<Alternatives, PatternFault> {
        if let [b'?', kind, ..] = self.rest {
            let what = format!("holds (?{}: a group of that kind is not in the subset", kind.escape_ascii());
            return Err(PatternFault::new(what));
        }
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEEPEST {
            return Err(PatternFault::new("nests groups more than 50 deep"));
        }
        let inner = self.alternatives()?;
        self.depth = self.depth.saturating_sub(1);
        if self.eat(b")") { Ok(inner) } else { Err(PatternFault::invalid("holds a ( without its )")) }
    }

    fn quantifier(&mut self) -> Result<(u8, Option<u8>), PatternFault> {
        let (least, most) = match self.rest {
            [b'*', ..] => (0, None),
            [b'+', ..] => (1, None),
            [b'?', ..] => (0, Some(1)),
            [b'{', digit, ..] if digit.is_ascii_digit() => self.bounds()?,
            _ => return Ok((1, Some(1))),
        };
        self.next();
        match self.rest.first() {
            Some(b'?') => Err(PatternFault::new("holds a non-greedy quantifier")),
            Some(b'*' | b'+') => Err(PatternFault::invalid("holds a quantifier behind a quantifier")),
            Some(_) | None => Ok((least, most)),
        }
    }

    /// `{m`, `{m,` or `{m,n`, up to the brace that closes it.
    fn bounds(&mut self) -> Result<(u8, Option<u8>), PatternFault> {
        self.next();
        let least = self.number()?;
        let most = match (self.eat(b","), self.rest.first()) {
            (false, _) => Some(least),
            (true, Some(b'}')) => None,
            (true, _) => Some(self.number()?),
        };
        let ordered = most.is_none_or(|most| least <= most);
        if ordered && self.rest.first() == Some(&b'}') { Ok((least, most)) } else { Err(invalid_bounds()) }
    }

    /// DUPMAX is 255 (src/include/regex/regex.h).
    fn number(&mut self) -> Result<u8, PatternFault> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at_checked(digits).ok_or_else(invalid_bounds)?;
        self.rest = rest;
        str::from_utf8(number).ok().and_then(|number| number.parse().ok()).ok_or_else(invalid_bounds)
    }

    /// What a backslash begins: a byte that loses its meaning, or a class.
    fn escape(&mut self, in_bracket: bool) -> Result<ByteSet, PatternFault> {
        let Some(byte) = self.next() else { return Err(PatternFault::invalid("ends with a backslash")) };
        let class = match byte.to_ascii_lowercase() {
            b'd' => b"digit".as_slice(),
            b's' => b"space",
            b'w' => b"word",
            _ if byte.is_ascii_alphanumeric() => {
                let what = match byte {
                    b'm' | b'M' | b'y' | b'Y' => "a constraint",
                    b'A' | b'Z' => "a constraint: ^ and $ mean the same",
                    b'1'..=b'9' => "a back-reference",
                    _ => "an escape",
                };
                return Err(PatternFault::new(format!("holds \\{}, {what} outside the subset", char::from(byte))));
            }
            _ => return Ok(ByteSet::new(|other| other == byte)),
        };
        let set = class_of(class).unwrap_or(ByteSet::new(|_| false));
        match (byte.is_ascii_uppercase(), in_bracket) {
            (false, _) => Ok(set),
            (true, false) => Ok(set.complement()),
            (true, true) => Err(PatternFault::new(format!("holds \\{} inside brackets", char::from(byte)))),
        }
    }

    /// Behind a `[`.
    fn bracket(&mut self) -> Result<ByteSet, PatternFault> {
        if self.rest.starts_with(b"[:<:]]") || self.rest.starts_with(b"[:>:]]") {
            return Err(PatternFault::new("holds [[:<:]] or [[:>:]], a constraint outside the subset"));
        }
        let negated = self.eat(b"^");
        let mut set = ByteSet::new(|_| false);
        let mut first = true;
        loop {
            let member = match self.next() {
                None => return Err(PatternFault::invalid("holds a [ without its ]")),
                Some(b']') if !first => return Ok(if negated { set.complement() } else { set }),
                Some(b'-') if !first && self.rest.first() != Some(&b']') => return Err(invalid_range()),
                Some(b'[') if self.rest.first() == Some(&b':') => self.class()?,
                Some(b'[') if matches!(self.rest.first(), Some(b'.' | b'=')) => {
                    return Err(PatternFault::new("holds a collating element or an equivalence class, [. or [="));
                }
                Some(b'\\') => self.escape(true)?,
                Some(byte) => ByteSet::new(|other| other == byte),
            };
            first = false;
            set = set.or(&self.range_from(member)?);
        }
    }

    /// The range that begins with `member`, or `member` where a range does not follow.
    fn range_from(&mut self, member: ByteSet) -> Result<ByteSet, PatternFault> {
        if !matches!(self.rest, [b'-', next, ..] if *next != b']') {
            return Ok(member);
        }
        self.next();
        let end = match self.next() {
            Some(b'[') if matches!(self.rest.first(), Some(b'.' | b'=' | b':')) => return Err(invalid_range()),
            Some(b'\\') => self.escape(true)?,
            Some(byte) => ByteSet::new(|other| other == byte),
            None => return Err(invalid_range()),
        };
        match (only(&member), only(&end)) {
            (Some(first), Some(last)) if first <= last => Ok(ByteSet::new(|byte| (first..=last).contains(&byte))),
            (_, _) => Err(invalid_range()),
        }
    }

    /// Behind the `[` of `[:name:]`.
    fn class(&mut self) -> Result<ByteSet, PatternFault> {
        self.next();
        let length = self.rest.windows(2).position(|pair| pair == b":]").ok_or_else(unknown_class)?;
        let (name, rest) = self.rest.split_at_checked(length).ok_or_else(unknown_class)?;
        let set = class_of(name).ok_or_else(unknown_class)?;
        self.rest = rest.get(2..).unwrap_or_default();
        Ok(set)
    }
}

/// A class of characters with the C collation (src/backend/regex/regc_locale.c, cclasscvec; regc_pg_locale.c).
fn class_of(name: &[u8]) -> Option<ByteSet> {
    let of: fn(u8) -> bool = match name {
        b"alnum" => |byte| byte.is_ascii_alphanumeric(),
        b"alpha" => |byte| byte.is_ascii_alphabetic(),
        b"ascii" => |byte| byte.is_ascii(),
        b"blank" => |byte| byte == b' ' || byte == b'\t',
        // Beyond ASCII as well: the range is that of ISO 8859.
        b"cntrl" => |byte| byte < 0x20 || (0x7f..=0x9f).contains(&byte),
        b"digit" => |byte| byte.is_ascii_digit(),
        b"graph" => |byte| byte.is_ascii_graphic(),
        b"lower" => |byte| byte.is_ascii_lowercase(),
        b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
        b"punct" => |byte| byte.is_ascii_punctuation(),
        b"space" => |byte| byte == b' ' || (0x09..=0x0d).contains(&byte),
        b"upper" => |byte| byte.is_ascii_uppercase(),
        b"word" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
        b"xdigit" => |byte| byte.is_ascii_hexdigit(),
        _ => return None,
    };
    Some(ByteSet::new(of))
}

/// The one byte of a set.
fn only(set: &ByteSet) -> Option<u8> {
    let mut ranges = set.ranges();
    match (ranges.next(), ranges.next()) {
        (Some((first, last)), None) if first == last => Some(first),
        _ => None,
    }
}

fn invalid_bounds() -> PatternFault {
    PatternFault::invalid("holds bounds that are not {m}, {m,} or {m,n} with m <= n <= 255")
}

fn invalid_range() -> PatternFault {
    PatternFault::new("holds a range in brackets that is not FIRST-LAST")
}

fn unknown_class() -> PatternFault {
    PatternFault::new("holds a class [: that is not one of PostgreSQL's")
}

/// In bytes. No name that is matched has as many.
const LONGEST: usize = 4096;

/// Reading recurses into groups.
const DEEPEST: usize = 50;
