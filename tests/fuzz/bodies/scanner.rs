//! The messages of one direction, in chunks as the network cuts them.

use postern::wire::{FrontendScanner, InvalidLength, MessageScanner};

/// However the stream is cut, the scanners find the messages that a plain walk over the whole of it finds. The last byte of `data`
/// says how it is cut.
pub fn frontend_scanner(data: &[u8]) {
    let Some((cuts, stream)) = data.split_last() else { return };
    check_boundaries(stream, *cuts, &Messages::of_client(stream));
    check_pieces(stream, *cuts, &Messages::of_backend(stream));
}

/// The messages of a stream by a walk from header to header: too plain to be wrong.
pub(super) struct Messages {
    pub(super) all: Vec<Message>,
    /// Where the header with a length that cannot be begins.
    pub(super) fault: Option<usize>,
}

/// A message whose header is whole; its end may lie behind the stream's.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Messages {
    /// Without limits but those of the length word.
    pub(super) fn of_backend(stream: &[u8]) -> Self {
        Self::of(stream, |_| 0x7fff_ffff)
    }

    /// With PostgreSQL's limits for each type (src/backend/tcop/postgres.c, SocketBackend).
    pub(super) fn of_client(stream: &[u8]) -> Self {
        Self::of(stream, |kind| match kind {
            _ if b"CDEHSXcf".contains(&kind) => 10_000,
            _ if b"QFBPd".contains(&kind) => 0x3fff_fffe,
            _ => 0x7fff_ffff,
        })
    }

    fn of(stream: &[u8], longest: impl Fn(u8) -> u32) -> Self {
        let mut all = Vec::new();
        let mut start = 0;
        while let Some([kind, a, b, c, d]) = stream.get(start..start + 5) {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            if !(4..=longest(*kind)).contains(&length) {
                return Self { all, fault: Some(start) };
            }
            let end = start + 1 + length as usize;
            all.push(Message { kind: *kind, start, end });
            start = end;
        }
        Self { all, fault: None }
    }

    /// What a scanner must answer to the chunk from `from` to `to`.
    pub(super) fn answer(&self, from: usize, to: usize) -> Result<usize, InvalidLength> {
        match self.fault {
            Some(fault) if fault + 5 <= to => Err(InvalidLength { sound: fault.saturating_sub(from) }),
            _ => {
                Ok(self.all.iter().map(|message| message.end).filter(|end| (from + 1..=to).contains(end)).max().map_or(0, |end| end - from))
            }
        }
    }

    pub(super) fn is_boundary(&self, place: usize) -> bool {
        place == 0 || self.all.iter().any(|message| message.end == place)
    }

    /// The types of the messages whose header is whole at `place`.
    pub(super) fn begun(&self, place: usize) -> impl Iterator<Item = u8> {
        self.all.iter().filter(move |message| message.start + 5 <= place).map(|message| message.kind)
    }
}

/// The chunks of a stream, as ranges: 0 cuts it nowhere, other numbers make two lengths in turn.
pub(super) fn chunks(length: usize, cuts: u8) -> Vec<(usize, usize)> {
    let sizes = match cuts {
        0 => [length, length],
        _ => [usize::from(cuts & 15) + 1, usize::from(cuts >> 4) + 1],
    };
    let mut chunks = Vec::new();
    let mut from = 0;
    for size in sizes.into_iter().cycle() {
        if from >= length {
            break;
        }
        let to = (from + size).min(length);
        chunks.push((from, to));
        from = to;
    }
    chunks
}

fn check_boundaries(stream: &[u8], cuts: u8, messages: &Messages) {
    let mut scanner = FrontendScanner::default();
    for (from, to) in chunks(stream.len(), cuts) {
        let answer = scanner.feed(&stream[from..to]);
        assert_eq!(answer, messages.answer(from, to));
        if answer.is_err() {
            return;
        }
        assert_eq!(scanner.at_boundary(), messages.is_boundary(to));
        assert_eq!(scanner.is_terminated(), messages.begun(to).any(|kind| kind == b'X'));
        // No backend has answered anything.
        let asked = messages.begun(to).any(|kind| b"QFS".contains(&kind));
        assert_eq!(scanner.is_answered(), !asked && messages.is_boundary(to));
    }
}

fn check_pieces(stream: &[u8], cuts: u8, messages: &Messages) {
    let mut scanner = MessageScanner::default();
    let mut seen: Vec<(u8, Vec<u8>, bool)> = Vec::new();
    for (from, to) in chunks(stream.len(), cuts) {
        let answer = scanner.scan(
            &stream[from..to],
            |_| usize::MAX,
            |piece| {
                if piece.first {
                    seen.push((piece.kind, Vec::new(), false));
                }
                let (kind, body, whole) = seen.last_mut().expect("the first piece of a message says that it is");
                assert!(*kind == piece.kind && !*whole, "nothing follows a message's last piece");
                body.extend_from_slice(piece.body);
                *whole = piece.last;
            },
        );
        if answer.is_err() {
            break;
        }
    }
    let expected: Vec<(u8, Vec<u8>, bool)> = messages
        .all
        .iter()
        .map(|message| {
            let end = message.end.min(stream.len());
            (message.kind, stream[message.start + 5..end].to_vec(), end == message.end)
        })
        .collect();
    assert_eq!(seen, expected);
}
