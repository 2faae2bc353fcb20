//! Where one message ends and the next begins, without copying: a type byte, a length word that counts itself, a body.
//! <https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>

/// Follows the message boundaries of one direction of a session.
#[derive(Debug, Default)]
pub struct MessageScanner {
    /// The header so far: type byte and length word.
    header: [u8; HEADER_LENGTH],
    header_filled: usize,
    /// The length of the current body.
    body_length: usize,
    /// Bytes of it that are still to come.
    body_left: usize,
}

/// A part of a message: a whole one where it fits the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The message's type byte.
    pub kind: u8,
    /// Whether the message begins here; its further pieces have `false`.
    pub first: bool,
    /// The length of its whole body.
    pub length: usize,
    /// What the chunk holds of its body.
    pub body: &'a [u8],
    /// Whether the message ends here.
    pub last: bool,
}

/// A length word below 4, above 2^31 - 1, or above the limit of its type: from here on nobody knows where a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLength {
    /// How much of the chunk is whole messages, and a beginning of one, before the header at fault; 0 if that began in an earlier chunk.
    pub sound: usize,
}

impl MessageScanner {
    /// Whether the last byte seen was the last of a message, or none has been seen.
    #[inline]
    pub fn at_boundary(&self) -> bool {
        self.header_filled == 0
    }

    /// Goes over `chunk`, showing each piece of a message to `visit`; `longest` is the longest body of a message by its type byte. Returns the length of the part of the chunk that ends with
    /// the last message that ends in it: 0 if none does.
    ///
    /// # Errors
    /// [`InvalidLength`]; the scanner is of no use afterwards.
    #[inline]
    pub fn scan<'a>(
        &mut self,
        chunk: &'a [u8],
        longest: impl Fn(u8) -> usize,
        mut visit: impl FnMut(Piece<'a>),
    ) -> Result<usize, InvalidLength> {
        let mut rest = chunk;
        let mut last_boundary = 0;
        while !rest.is_empty() {
            let sound = chunk.len().saturating_sub(rest.len());
            let first = if self.header_filled == HEADER_LENGTH {
                false
            } else {
                rest = self.take_header(rest);
                if self.header_filled < HEADER_LENGTH {
                    break;
                }
                let [kind, ..] = self.header;
                self.body_length = self.announced_body().filter(|body| *body <= longest(kind)).ok_or(InvalidLength { sound })?;
                self.body_left = self.body_length;
                true
            };
            let (body, behind) = rest.split_at_checked(self.body_left).unwrap_or((rest, &[]));
            self.body_left = self.body_left.saturating_sub(body.len());
            rest = behind;
            let [kind, ..] = self.header;
            let last = self.body_left == 0;
            if last {
                self.header_filled = 0;
                last_boundary = chunk.len().saturating_sub(rest.len());
            }
            visit(Piece { kind, first, length: self.body_length, body, last });
        }
        Ok(last_boundary)
    }

    /// Moves header bytes out of `bytes`; returns what is behind them.
    #[inline]
    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.header_filled == 0
            && let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LENGTH>()
        {
            self.header = *header;
            self.header_filled = HEADER_LENGTH;
            return rest;
        }
        let mut rest = bytes;
        while let (Some(slot), Some((byte, behind))) = (self.header.get_mut(self.header_filled), rest.split_first()) {
            *slot = *byte;
            self.header_filled = self.header_filled.saturating_add(1);
            rest = behind;
        }
        rest
    }

    /// The body's length by the header; the length word counts its own four bytes.
    #[inline]
    fn announced_body(&self) -> Option<usize> {
        let [_, length @ ..] = self.header;
        let length = i32::from_be_bytes(length).checked_sub(4)?;
        usize::try_from(length).ok()
    }
}

/// A type byte and a length word.
const HEADER_LENGTH: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// What a scanner sees of `bytes`, cut into chunks of the given sizes in turn.
    fn messages(bytes: &[u8], sizes: &[usize]) -> Vec<(u8, Vec<u8>)> {
        let mut scanner = MessageScanner::default();
        let mut seen: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            let (chunk, behind) = rest.split_at(rest.len().min(*size));
            scanner
                .scan(
                    chunk,
                    |_| usize::MAX,
                    |piece| {
                        if piece.first {
                            seen.push((piece.kind, Vec::new()));
                        }
                        seen.last_mut().unwrap().1.extend_from_slice(piece.body);
                    },
                )
                .unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        assert!(scanner.at_boundary());
        seen
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_messages_are_the_same(
            sent in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 1..20),
            sizes in prop::collection::vec(1usize..30, 1..10),
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
            prop_assert_eq!(messages(&bytes, &sizes), sent);
        }
    }

    #[test]
    fn the_last_boundary_of_a_chunk_is_found() {
        let mut scanner = MessageScanner::default();
        let mut bytes = message(b'D', b"row");
        let whole = bytes.len();
        bytes.extend_from_slice(b"D\0\0");
        assert_eq!(scanner.scan(&bytes, |_| usize::MAX, |_| ()), Ok(whole));
        assert!(!scanner.at_boundary());
        assert_eq!(scanner.scan(b"\0\x08abc", |_| usize::MAX, |_| ()), Ok(0));
        assert_eq!(scanner.scan(b"d", |_| usize::MAX, |_| ()), Ok(1));
        assert!(scanner.at_boundary());
    }

    #[test]
    fn a_length_that_cannot_be_is_told_with_what_is_sound_before_it() {
        for word in [0u32, 3, 1 << 31, u32::MAX] {
            let mut bytes = message(b'S', b"");
            let sound = bytes.len();
            bytes.push(b'Q');
            bytes.extend_from_slice(&word.to_be_bytes());
            assert_eq!(MessageScanner::default().scan(&bytes, |_| usize::MAX, |_| ()), Err(InvalidLength { sound }));
        }
    }
}
