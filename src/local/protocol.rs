//! SQS' two wire protocols: AWS JSON 1.0, and the older query protocol that answers in XML.
//!
//! Both are read into one JSON value a request, and answered from one JSON value a response, so that
//! each action is written once.

pub mod md5;
pub mod query;
pub mod types;
pub mod xml;

use serde_json::Value;

/// An error as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// The shape's name in SQS' model.
    pub shape: &'static str,
    /// Words for people.
    pub message: String,
}

impl WireError {
    /// An error of that shape.
    pub fn new(shape: &'static str, message: impl Into<String>) -> Self {
        Self { shape, message: message.into() }
    }

    /// The code under which the query protocol knows it.
    #[must_use]
    pub fn code(&self) -> String {
        match self.shape {
            "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
            "QueueNameExists" => "QueueAlreadyExists".to_owned(),
            "UnknownOperationException" => "InvalidAction".to_owned(),
            shape @ ("EmptyBatchRequest"
            | "TooManyEntriesInBatchRequest"
            | "BatchEntryIdsNotDistinct"
            | "InvalidBatchEntryId"
            | "BatchRequestTooLong"
            | "PurgeQueueInProgress"
            | "UnsupportedOperation") => format!("AWS.SimpleQueueService.{shape}"),
            shape => shape.to_owned(),
        }
    }

    /// The body of a JSON answer.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::json!({"__type": format!("com.amazonaws.sqs#{}", self.shape), "message": self.message})
    }
}

impl From<crate::fifo::Error> for WireError {
    fn from(error: crate::fifo::Error) -> Self {
        Self::new(error.shape(), error.to_string())
    }
}
