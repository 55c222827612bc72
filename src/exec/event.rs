use rustix::event::epoll::EventData;

use super::plan::Token;

/// What a descriptor in the worker's epoll set tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A run's process has ended.
    Exit = 0,
    Stdout = 1,
    Stderr = 2,
    /// Another thread has something to say.
    Bell = 3,
    /// The time has come that the worker waits for.
    Alarm = 4,
}

/// The kind lies in the low bits, the run's token above.
pub(super) fn data(token: Token, kind: Kind) -> EventData {
    EventData::new_u64(token << 3 | kind as u64)
}

pub(super) fn parse(data: EventData) -> (Token, Kind) {
    let kind = match data.u64() & 7 {
        0 => Kind::Exit,
        1 => Kind::Stdout,
        2 => Kind::Stderr,
        4 => Kind::Alarm,
        _ => Kind::Bell,
    };
    (data.u64() >> 3, kind)
}
