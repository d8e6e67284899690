//! What can happen to a call on its way to the queue and back.

use rand::rngs::SmallRng;

use crate::chance::drawn;

/// One fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It takes its time to get there.
    SlowRequest,
    /// The connection is reset; the queue never hears of it.
    Reset,
    /// 500; the queue never hears of it.
    Status500,
    /// 503, from something in between that does not speak SQS.
    Status503,
    /// Throttled, by the older name.
    RequestThrottled,
    /// Throttled, by the newer name.
    ThrottlingException,
    /// It has taken effect, and the answer takes its time.
    SlowAnswer,
    /// It has taken effect, and the answer is a 500.
    ErrorAfterEffect,
    /// It has taken effect, and the answer breaks off.
    AnswerCut,
    /// It has taken effect, and there is no answer.
    AnswerDropped,
}

use Fault::{
    AnswerCut, AnswerDropped, ErrorAfterEffect, RequestThrottled, Reset, SlowAnswer, SlowRequest, Status500,
    Status503, ThrottlingException,
};

impl Fault {
    pub const ALL: [Self; 10] = [
        SlowRequest,
        Reset,
        Status500,
        Status503,
        RequestThrottled,
        ThrottlingException,
        SlowAnswer,
        ErrorAfterEffect,
        AnswerCut,
        AnswerDropped,
    ];

    /// A fault for one call: 3 in 100 in fine weather. In a storm 3 in 10 receives, so that there are
    /// jobs to settle, and 8 in 10 of the calls that settle them, so that all three of the worker's
    /// tries at one often fail.
    pub fn draw(rng: &mut SmallRng, storm: bool, action: &str) -> Option<Self> {
        let share = match (storm, action) {
            (false, _) => 3,
            (true, "receive" | "describe") => 30,
            (true, _) => 80,
        };
        drawn(rng, &Self::ALL.map(|fault| (fault, share)))
    }

    /// The answer that is given in the queue's stead, if it never hears of the call.
    pub fn instead(self) -> Option<Vec<u8>> {
        match self {
            Status500 => Some(Self::internal_error()),
            Status503 => {
                let page = "<html><body>503 Service Temporarily Unavailable</body></html>";
                Some(answer("503 Service Unavailable", "content-type: text/html\r\n", page))
            }
            RequestThrottled => Some(throttled("RequestThrottled")),
            ThrottlingException => Some(throttled("ThrottlingException")),
            SlowRequest | Reset | SlowAnswer | ErrorAfterEffect | AnswerCut | AnswerDropped => None,
        }
    }

    pub fn internal_error() -> Vec<u8> {
        let body =
            r#"{"__type":"com.amazonaws.sqs#InternalError","message":"We encountered an internal error."}"#;
        answer("500 Internal Server Error", "content-type: application/x-amz-json-1.0\r\n", body)
    }
}

/// As SQS answers over its limits: a 400 that names its kind.
fn throttled(kind: &str) -> Vec<u8> {
    let body = format!(r#"{{"__type":"com.amazonaws.sqs#{kind}","message":"Rate exceeded"}}"#);
    let headers =
        format!("content-type: application/x-amz-json-1.0\r\nx-amzn-query-error: {kind};Sender\r\n");
    answer("400 Bad Request", &headers, &body)
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
