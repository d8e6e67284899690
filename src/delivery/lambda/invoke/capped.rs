//! An answer of which only the beginning is read.
//!
//! The SDK reads a whole answer into memory before it hands it over. Lambda's has up to 6 MB, and one from
//! an endpoint of an app's has no end that could be relied on; nothing but an error's text is ever looked
//! at. So the body ends early, and the connection is dropped with what is left.

use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_lambda::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_lambda::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_lambda::error::BoxError;
use aws_sdk_lambda::primitives::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};

/// At most this much of an answer is read, in bytes. A failed function's type and message stand at its beginning.
pub(super) const MAX_ANSWER: usize = 64 * 1024;

/// Caps every answer.
#[derive(Debug)]
pub(super) struct Cap;

impl Intercept for Cap {
    fn name(&self) -> &'static str {
        "Cap"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let answer = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Capped { answer: Some(answer), left: MAX_ANSWER });
        Ok(())
    }
}

struct Capped {
    /// `None` once it has ended or enough of it was read.
    answer: Option<SdkBody>,
    left: usize,
}

impl Body for Capped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
        let polled = Pin::new(answer).poll_frame(context);
        Poll::Ready(match std::task::ready!(polled) {
            None => None,
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(mut data) => {
                    data.truncate(self.left);
                    self.left -= data.len();
                    if self.left == 0 {
                        self.answer = None;
                    }
                    Frame::data(data)
                }
                Err(trailers) => trailers,
            })),
        })
    }
}
