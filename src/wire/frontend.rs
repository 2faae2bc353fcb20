//! What the client has asked for and not yet been answered: the client's half of "is this session idle".

use super::scan::{InvalidLength, MessageScanner};

/// Follows the client's messages: boundaries, how many of them still await a ReadyForQuery, and whether the client said goodbye.
///
/// Where it cannot know (a Query behind a failed extended-protocol message without Sync, COPY data sent before CopyInResponse), it
/// counts too much: a session may seem busy that is idle, never the reverse.
#[derive(Debug, Default)]
pub struct FrontendScanner {
    messages: MessageScanner,
    /// Query and FunctionCall messages without their ReadyForQuery.
    queries: u32,
    /// Sync messages without theirs.
    syncs: u32,
    /// The backend is in COPY IN: it reads no Sync until CopyDone or CopyFail.
    copying: Option<Copying>,
    terminated: bool,
}

/// How the COPY that is running was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copying {
    ByQuery,
    ByExecute,
}

impl FrontendScanner {
    /// Takes the next bytes from the client. Returns the length of the part that ends with the last whole message.
    ///
    /// # Errors
    /// [`InvalidLength`], as [`MessageScanner::scan`].
    #[inline]
    pub fn feed(&mut self, chunk: &[u8]) -> Result<usize, InvalidLength> {
        let Self { messages, queries, syncs, copying, terminated } = self;
        messages.scan(chunk, longest_body, |piece| {
            if !piece.first {
                return;
            }
            match piece.kind {
                b'Q' | b'F' => *queries = queries.saturating_add(1),
                b'S' => *syncs = syncs.saturating_add(1),
                b'c' | b'f' => {
                    // src/backend/commands/copyfromparse.c, CopyGetData: a Sync or Flush in COPY IN is read over, so all that came
                    // behind the statement and before the end of the data will never be answered.
                    if let Some(started) = copying.take() {
                        *queries = u32::from(started == Copying::ByQuery);
                        *syncs = 0;
                    }
                }
                b'X' => *terminated = true,
                _ => {}
            }
        })
    }

    /// Whether the last byte was the last of a message.
    pub fn at_boundary(&self) -> bool {
        self.messages.at_boundary()
    }

    /// Whether every Query, Sync and FunctionCall has had its ReadyForQuery and no message is half sent.
    pub fn is_answered(&self) -> bool {
        self.queries == 0 && self.syncs == 0 && self.at_boundary()
    }

    /// Whether a Terminate was sent.
    pub fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// The backend sent ReadyForQuery.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.copying = None;
        // Which of the two it answers matters only to `copying_began`, and clients do not mix them within a pipeline.
        if self.queries > 0 {
            self.queries = self.queries.saturating_sub(1);
        } else {
            self.syncs = self.syncs.saturating_sub(1);
        }
    }

    /// The backend sent CopyInResponse or CopyBothResponse. All that came before the statement has been answered by then.
    pub(super) fn copying_began(&mut self) {
        self.copying = Some(if self.queries > 0 { Copying::ByQuery } else { Copying::ByExecute });
    }
}

/// The longest body of a client's message (src/backend/tcop/postgres.c, SocketBackend): beyond it PostgreSQL closes without a word. A
/// type that it does not know has no limit here, because it says so itself.
fn longest_body(kind: u8) -> usize {
    match kind {
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL_MESSAGE,
        b'Q' | b'F' | b'B' | b'P' | b'd' => LARGE_MESSAGE,
        _ => usize::MAX,
    }
}

/// PQ_SMALL_MESSAGE_LIMIT (src/include/libpq/libpq.h), less the length word.
const SMALL_MESSAGE: usize = 10_000 - 4;
/// PQ_LARGE_MESSAGE_LIMIT: MaxAllocSize - 1, less the length word.
const LARGE_MESSAGE: usize = 0x3fff_ffff - 1 - 4;
