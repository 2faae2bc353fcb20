//! The protocol's messages, as far as both ends of this comparison need them.

use std::io::{self, Read};

/// What is asked of the fake backend: bytes in messages of one size, written in pieces of another.
#[derive(Clone, Copy)]
pub struct Load {
    pub bytes: usize,
    /// A whole message, its head included.
    pub message: usize,
    pub write: usize,
}

impl Load {
    /// As the text of a Query.
    pub fn query(self, verb: &str) -> String {
        format!("{verb} {} {} {}", self.bytes, self.message, self.write)
    }

    /// The load and the verb of a Query's text; `None` if it is another query.
    pub fn parse(text: &str) -> Option<(&str, Self)> {
        let mut words = text.split(' ');
        let verb = words.next()?;
        let mut number = || words.next()?.parse().ok();
        Some((verb, Self { bytes: number()?, message: number()?, write: number()? }))
    }

    /// Its messages' bytes, piece by piece.
    pub fn pieces(self, kind: u8, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let block = message(kind, &vec![0; self.message - 5]).repeat((self.write / self.message).max(1));
        let mut left = self.bytes / self.message * self.message;
        while left > 0 {
            let piece = &block[..left.min(block.len())];
            write(piece)?;
            left -= piece.len();
        }
        Ok(())
    }
}

/// A message with its head.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

/// A Query.
pub fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

/// A reader of messages.
#[derive(Default)]
pub struct Messages {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Messages {
    /// The kind of the next message, and the length of its body, which is to be taken or passed over.
    pub fn next(&mut self, stream: &mut impl Read) -> io::Result<(u8, usize)> {
        let mut head = [0; 5];
        self.read(stream, &mut head)?;
        let [kind, length @ ..] = head;
        Ok((kind, u32::from_be_bytes(length) as usize - 4))
    }

    /// Fills `bytes`.
    pub fn read(&mut self, stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let piece = self.some(stream, bytes.len() - filled)?;
            bytes[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        Ok(())
    }

    /// Passes over `length` bytes.
    pub fn skip(&mut self, stream: &mut impl Read, length: usize) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            left -= self.some(stream, left)?.len();
        }
        Ok(())
    }

    /// At least one byte, and at most `most`.
    fn some(&mut self, stream: &mut impl Read, most: usize) -> io::Result<&[u8]> {
        if self.from == self.to {
            self.fill(stream)?;
        }
        let start = self.from;
        self.from += most.min(self.to - start);
        Ok(&self.buffer[start..self.from])
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        // Borrowed memory for as long as something flows: thousands of idle sessions hold none.
        self.buffer.resize(64 * 1024, 0);
        let count = stream.read(&mut self.buffer)?;
        (self.from, self.to) = (0, count);
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Gives the memory back, if nothing waits in it.
    pub fn rest(&mut self) {
        if self.from == self.to {
            *self = Self::default();
        }
    }
}
