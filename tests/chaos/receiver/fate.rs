//! What a receiver does to an attempt, drawn, and written out as the bytes and pauses that it takes.

use std::time::Duration;

use rand::rngs::SmallRng;

use crate::chance::{drawn, millis};
use crate::history::End;
use crate::timing::ATTEMPT_TIMEOUT;

/// What becomes of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Accept,
    AcceptSlowly,
    Trickle,
    Status500,
    Busy503,
    Hang,
    TrickleTooLong,
    TakeAndAnswerTooLate,
    ResetBeforeAnswer,
    TakeAndResetInAnswer,
    TakeAndCutBody,
    Gone,
}

/// What becomes of the connection after a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    CacheTtl,
    CloseUnannounced,
    CloseWhileIdle,
}

impl Afterwards {
    pub const ALL: [Self; 3] = [Self::CacheTtl, Self::CloseUnannounced, Self::CloseWhileIdle];
}

/// The bytes of an answer, and the pauses between them.
#[derive(Clone, Debug)]
pub struct Script {
    /// Pauses, each with what is written after it.
    pub before: Vec<(Duration, Vec<u8>)>,
    /// The pause before the last bytes.
    pub pause: Duration,
    /// The last bytes.
    pub last: Vec<u8>,
    /// How the attempt ends if all of it was written.
    pub end: End,
    /// Whether the job is taken although the worker hung up.
    pub takes_early: bool,
    /// Whether the connection is then reset.
    pub reset: bool,
    /// Whether the connection may be used again.
    pub keep: bool,
}

/// Out of 1,000 in fine weather; the rest is accepted.
const FINE: [(Fate, u32); 10] = [
    (Fate::AcceptSlowly, 50),
    (Fate::Trickle, 10),
    (Fate::Status500, 10),
    (Fate::Busy503, 5),
    (Fate::Hang, 3),
    (Fate::TrickleTooLong, 3),
    (Fate::TakeAndAnswerTooLate, 3),
    (Fate::ResetBeforeAnswer, 5),
    (Fate::TakeAndResetInAnswer, 5),
    (Fate::TakeAndCutBody, 5),
];

const STORM: [(Fate, u32); 10] = [
    (Fate::AcceptSlowly, 100),
    (Fate::Trickle, 50),
    (Fate::Status500, 150),
    (Fate::Busy503, 100),
    (Fate::Hang, 30),
    (Fate::TrickleTooLong, 20),
    (Fate::TakeAndAnswerTooLate, 20),
    (Fate::ResetBeforeAnswer, 50),
    (Fate::TakeAndResetInAnswer, 50),
    (Fate::TakeAndCutBody, 50),
];

const AFTERWARDS: [(Afterwards, u32); 2] =
    [(Afterwards::CloseUnannounced, 40), (Afterwards::CloseWhileIdle, 60)];

/// A hang ends when the worker hangs up; this only ends one whose worker is stopped.
const HANG: Duration = Duration::from_secs(30);

const BODY: &[u8] = b"{\"ok\":true,\"text\":\"thank you\"}";

pub fn draw(rng: &mut SmallRng, storm: bool) -> (Fate, Afterwards) {
    let fate = drawn(rng, if storm { &STORM } else { &FINE });
    (fate.unwrap_or(Fate::Accept), drawn(rng, &AFTERWARDS).unwrap_or(Afterwards::CacheTtl))
}

/// How long an idle connection is kept that will be closed.
pub fn idle(rng: &mut SmallRng) -> Duration {
    millis(rng, 5..400)
}

impl Fate {
    pub const ALL: [Self; 12] = [
        Self::Accept,
        Self::AcceptSlowly,
        Self::Trickle,
        Self::Status500,
        Self::Busy503,
        Self::Hang,
        Self::TrickleTooLong,
        Self::TakeAndAnswerTooLate,
        Self::ResetBeforeAnswer,
        Self::TakeAndResetInAnswer,
        Self::TakeAndCutBody,
        Self::Gone,
    ];

    /// Whether the job is taken.
    pub fn takes(self) -> bool {
        match self {
            Self::Accept
            | Self::AcceptSlowly
            | Self::Trickle
            | Self::TrickleTooLong
            | Self::TakeAndAnswerTooLate
            | Self::TakeAndResetInAnswer
            | Self::TakeAndCutBody => true,
            Self::Status500 | Self::Busy503 | Self::Hang | Self::ResetBeforeAnswer | Self::Gone => false,
        }
    }

    pub fn script(self, rng: &mut SmallRng) -> Script {
        let whole = answer("200 OK", "", BODY);
        let body_starts = whole.len() - BODY.len();
        let refused = |status: &str, more: &str| Script {
            last: answer(status, more, b"no"),
            end: End::NotTaken,
            ..Script::accepting(Duration::ZERO)
        };
        match self {
            Self::Accept => Script::accepting(Duration::ZERO),
            Self::AcceptSlowly => Script::accepting(millis(rng, 50..400)),
            Self::Trickle => Script::trickling(Duration::from_millis(60)),
            // A stopped worker finds the whole answer when it is resumed, far beyond the deadline.
            Self::TrickleTooLong => Script { takes_early: true, ..Script::trickling(ATTEMPT_TIMEOUT / 3) },
            Self::TakeAndAnswerTooLate => {
                Script { takes_early: true, ..Script::accepting(ATTEMPT_TIMEOUT * 3 / 2) }
            }
            Self::Status500 => refused("500 Internal Server Error", ""),
            Self::Busy503 => {
                let seconds = millis(rng, 1..3).as_millis();
                refused("503 Service Unavailable", &format!("retry-after: {seconds}\r\n"))
            }
            Self::Gone => refused("410 Gone", ""),
            Self::Hang => Script { pause: HANG, keep: false, ..refused("500 Internal Server Error", "") },
            Self::ResetBeforeAnswer => Script { last: Vec::new(), reset: true, ..refused("500", "") },
            Self::TakeAndResetInAnswer => Script {
                last: whole[..20].to_vec(),
                end: End::AnswerLost,
                reset: true,
                ..Script::accepting(Duration::ZERO)
            },
            Self::TakeAndCutBody => Script {
                last: whole[..body_starts + BODY.len() / 2].to_vec(),
                end: End::AnswerLost,
                keep: false,
                ..Script::accepting(Duration::ZERO)
            },
        }
    }
}

impl Script {
    fn accepting(pause: Duration) -> Self {
        Self {
            before: Vec::new(),
            pause,
            last: answer("200 OK", "", BODY),
            end: End::Accepted,
            takes_early: false,
            reset: false,
            keep: true,
        }
    }

    /// The head at once, the body in six pieces, a pause before each.
    fn trickling(pause: Duration) -> Self {
        let whole = answer("200 OK", "", BODY);
        let (head, body) = whole.split_at(whole.len() - BODY.len());
        let mut pieces = body.chunks(BODY.len().div_ceil(6));
        let last = pieces.next_back().unwrap_or_default().to_vec();
        let mut before = vec![(Duration::ZERO, head.to_vec())];
        before.extend(pieces.map(|piece| (pause, piece.to_vec())));
        Self { before, pause, last, ..Self::accepting(pause) }
    }
}

fn answer(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
