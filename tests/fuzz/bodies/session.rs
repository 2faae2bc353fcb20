//! Both directions of a session at once.

use postern::wire::{BackendScanner, FrontendScanner, TransactionStatus};

use super::scanner::Messages;

/// However a session is cut, the scanners find the same: boundaries, what is complete, what is idle, and what is counted.
///
/// `data` is turns: a byte whose high bit says who speaks (0 the backend, 1 the client) and whose other bits say for how many bytes;
/// then those.
pub fn backend_scanner(data: &[u8]) {
    let turns = turns(data);
    let (mut as_sent, mut by_bytes) = (Session::new(), Session::new());
    let backend = Messages::of_backend(&bytes_of(&turns, Side::Backend));
    let client = Messages::of_client(&bytes_of(&turns, Side::Client));
    let (mut heard, mut asked) = (0, 0);
    for (side, bytes) in turns {
        let (place, messages) = match side {
            Side::Backend => (&mut heard, &backend),
            Side::Client => (&mut asked, &client),
        };
        let answer = as_sent.feed(side, bytes);
        assert_eq!(answer, messages.answer(*place, *place + bytes.len()).map_err(|_| ()));
        let sound = bytes.iter().try_for_each(|byte| by_bytes.feed(side, &[*byte]).map(drop));
        assert_eq!(answer.is_ok(), sound.is_ok());
        if answer.is_err() {
            return;
        }
        *place += bytes.len();
        assert_eq!(as_sent.state(), by_bytes.state(), "{side:?} sent {bytes:?}");

        let count = |kind: u8| backend.begun(heard).filter(|begun| *begun == kind).count() as u64;
        let state = as_sent.state();
        assert_eq!((state.statements, state.errors), (count(b'C'), count(b'E')));
        assert_eq!((state.backend_at_boundary, state.client_at_boundary), (backend.is_boundary(heard), client.is_boundary(asked)));
        if state.idle {
            assert!(state.backend_at_boundary && state.client_at_boundary, "a session inside a message is not idle");
            // Asynchronous messages may follow it; before the first one a session is idle from its login.
            let last = backend.begun(heard).filter(|kind| !b"ANS".contains(kind)).last();
            assert!(matches!(last, None | Some(b'Z')), "only ReadyForQuery makes a session idle");
        }
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Backend,
    Client,
}

fn turns(data: &[u8]) -> Vec<(Side, &[u8])> {
    let mut turns = Vec::new();
    let mut rest = data;
    while let Some((turn, behind)) = rest.split_first() {
        let side = if turn & 0x80 == 0 { Side::Backend } else { Side::Client };
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(turn & 0x7f)));
        turns.push((side, bytes));
        rest = behind;
    }
    turns
}

fn bytes_of(turns: &[(Side, &[u8])], wanted: Side) -> Vec<u8> {
    turns.iter().filter(|(side, _)| *side == wanted).flat_map(|(_, bytes)| bytes.iter().copied()).collect()
}

struct Session {
    client: FrontendScanner,
    backend: BackendScanner,
}

/// All that can be asked about a session.
#[derive(Debug, PartialEq, Eq)]
struct State {
    idle: bool,
    ready: Option<TransactionStatus>,
    answered: bool,
    terminated: bool,
    backend_at_boundary: bool,
    client_at_boundary: bool,
    statements: u64,
    errors: u64,
    ended_with_error: bool,
}

impl Session {
    fn new() -> Self {
        Self { client: FrontendScanner::default(), backend: BackendScanner::after_login() }
    }

    fn feed(&mut self, side: Side, bytes: &[u8]) -> Result<usize, ()> {
        match side {
            Side::Backend => self.backend.feed(bytes, &mut self.client),
            Side::Client => self.client.feed(bytes),
        }
        .map_err(|_| ())
    }

    fn state(&self) -> State {
        State {
            idle: self.backend.ready() == Some(TransactionStatus::Idle) && self.client.is_answered() && self.backend.at_boundary(),
            ready: self.backend.ready(),
            answered: self.client.is_answered(),
            terminated: self.client.is_terminated(),
            backend_at_boundary: self.backend.at_boundary(),
            client_at_boundary: self.client.at_boundary(),
            statements: self.backend.statements(),
            errors: self.backend.errors(),
            ended_with_error: self.backend.ended_with_error(),
        }
    }
}
