//! The parameters of a StartupMessage, kept as they came: order, doubles and bytes.

/// Name and value pairs, each NUL-terminated, followed by one NUL: the body of a StartupMessage behind the version.
#[derive(Clone, PartialEq, Eq)]
pub struct StartupParameters(Box<[u8]>);

impl StartupParameters {
    /// Takes the body behind the version; `None` if it is not pairs and a terminator as its last byte.
    ///
    /// The walk is that of ProcessStartupPacket (src/backend/tcop/backend_startup.c): every step consumes at least one byte.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut pairs = Pairs(body);
        while pairs.next().is_some() {}
        (pairs.0 == [0]).then(|| Self(body.into()))
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Pairs(&self.0)
    }

    /// The value of the first parameter with this name.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// How often a parameter is given.
    pub fn count(&self, name: &[u8]) -> usize {
        self.iter().filter(|(key, _)| *key == name).count()
    }

    /// The length of all pairs with the terminator.
    pub(super) fn encoded_length(&self) -> usize {
        self.0.len()
    }
}

/// Walks the pairs; what it leaves is the terminator, or the place where the layout broke.
struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split_at_nul(self.0)?;
        if name.is_empty() {
            return None;
        }
        let (value, rest) = split_at_nul(rest)?;
        self.0 = rest;
        Some((name, value))
    }
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let nul = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..nul)?, bytes.get(nul..)?.get(1..)?))
}
