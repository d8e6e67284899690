//! What the SDK's errors mean to the worker.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::aws::error_chain;
use crate::queue::ReceiveError;

/// Codes that only an operator can do something about.
const DENIED: [&str; 12] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "KmsAccessDenied",
];

const THROTTLED: [&str; 7] = [
    "OverLimit",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "KmsThrottled",
];

const MISSING: [&str; 3] =
    ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue"];

/// Sorts an error; its text is for people.
pub(super) fn classify<E>(failure: &SdkError<E>) -> ReceiveError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match failure {
        SdkError::ServiceError(context) => {
            let code = context.err().code().unwrap_or("unknown");
            let message = context.err().message().unwrap_or("no message");
            let text = format!("{code}: {message}");
            let status = context.raw().status().as_u16();
            if MISSING.contains(&code) {
                ReceiveError::Missing(text)
            } else if DENIED.contains(&code) || matches!(status, 401 | 403) {
                ReceiveError::Denied(text)
            } else if THROTTLED.contains(&code) || status == 429 {
                ReceiveError::Throttled(text)
            } else {
                ReceiveError::Service(format!("{text} (status {status})"))
            }
        }
        // Before anything was sent: the credentials, above all.
        SdkError::ConstructionFailure(_) => ReceiveError::Denied(error_chain(failure)),
        // An error of another kind that has a kind all the same is one of the connection: above all
        // one that was closed when the request was under way.
        SdkError::DispatchFailure(dispatch)
            if dispatch.is_user() || (dispatch.is_other() && dispatch.as_other().is_none()) =>
        {
            ReceiveError::Denied(error_chain(failure))
        }
        // A response that broke off counts as none: messages may have been handed over in it.
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            ReceiveError::NoResponse(error_chain(failure))
        }
        other => ReceiveError::Service(error_chain(other)),
    }
}

/// Whether the service understood the request and will not have it, whoever sends it and however often.
pub(super) fn is_refusal<E>(failure: &SdkError<E>) -> bool
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let answer = failure.raw_response().map(|raw| raw.status().as_u16());
    matches!(classify(failure), ReceiveError::Service(_)) && answer == Some(400)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_sqs::config::Credentials;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::queue::sqs::{Address, Connection, Options, Usage};
    use crate::queue::{AttemptId, Queue, ReceiveError};

    /// What a receive comes to whose request is read and whose answer is this, and no more.
    async fn received(answer: &'static [u8]) -> Result<usize, ReceiveError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The request's body is small: it comes with the head or right behind it.
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
        });
        let connection = Connection::load(Address {
            url: format!("{endpoint}/1/q.fifo"),
            region: "us-east-1".into(),
            endpoint: Some(endpoint),
            options: Options {
                credentials: Some(Credentials::new("local", "local", None, None, "test")),
                ..Options::default()
            },
        });
        let usage = Usage {
            wait: Duration::ZERO,
            visibility: None,
            settle_timeout: Duration::from_secs(1),
            dead_letter_url: None,
        };
        let received = connection.await.queue(usage).receive(1, &AttemptId("a".into())).await;
        serving.await.unwrap();
        received.map(|messages| messages.len())
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_or_breaks_off_is_no_response() {
        for answer in [&b""[..], b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"Mes"] {
            let error = received(answer).await.unwrap_err();
            assert!(matches!(error, ReceiveError::NoResponse(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_whole_answer_is_one_whatever_it_says() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let error = received(answer).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Service(_)), "{error}");
        assert_eq!(received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await, Ok(0));
    }
}
