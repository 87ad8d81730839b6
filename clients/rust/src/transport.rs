//! What the stubs call through: credentials, a deadline and retries on top of a channel.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, request};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status, TimeoutExpired};
use tower_service::Service;

use crate::retrying::Backoff;

/// How often a call is made at most, the first time included.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Calls that answer with a stream, which has no deadline unless it is given one.
const STREAMS: [&str; 2] =
    ["/cofactor.v1.ChallengeService/WatchChallenge", "/cofactor.v1.ChallengeService/WatchDevice"];

const TIMEOUT: &str = "grpc-timeout";

/// A channel that sends the client's credentials, gives every unary call a deadline (10 s unless told otherwise, or
/// [`tonic::Request::set_timeout`] for one call), and repeats a call that was answered UNAVAILABLE: four times in all,
/// within the deadline. The generated stubs take it.
#[derive(Clone)]
pub struct Transport {
    channel: Channel,
    headers: HeaderMap,
    deadline: Duration,
}

impl Transport {
    pub(crate) fn new(channel: Channel, headers: HeaderMap, deadline: Duration) -> Self {
        Self { channel, headers, deadline }
    }

    /// Returns the same with one more header, which is kept out of what is printed.
    pub(crate) fn with(&self, name: &'static str, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        let mut changed = self.clone();
        changed.headers.insert(name, value);
        changed
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        // Each call of the API sends one message, which is kept for the next attempt.
        let body = body.collect().await?.to_bytes();
        for (name, value) in &self.headers {
            parts.headers.entry(name).or_insert_with(|| value.clone());
        }
        let told = parts.headers.remove(TIMEOUT).as_ref().and_then(timeout_of);
        let limit = told.or_else(|| (!STREAMS.contains(&parts.uri.path())).then_some(self.deadline));
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        for _ in 1..ATTEMPTS {
            let answer = self.attempt(&parts, body.clone(), deadline).await;
            let wait = backoff.next();
            if !unavailable(&answer) || deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                return answer;
            }
            sleep(wait).await;
        }
        self.attempt(&parts, body, deadline).await
    }

    async fn attempt(
        &self,
        parts: &request::Parts,
        body: Bytes,
        deadline: Option<Instant>,
    ) -> Result<Response<Body>, Status> {
        let mut request = Request::from_parts(parts.clone(), Body::new(Full::new(body)));
        if let Some(deadline) = deadline {
            request.headers_mut().insert(TIMEOUT, timeout_until(deadline));
        }
        let mut channel = self.channel.clone();
        let call = async {
            poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(request).await
        };
        let answer = match deadline {
            Some(deadline) => timeout_at(deadline, call).await.map_err(|_| late())?,
            None => call.await,
        };
        let response = answer.map_err(|error| lost(error.into()))?;
        let end = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Ok(response.map(|body| Body::new(Ending { body, end })))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Transport").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(())) // each attempt waits for the channel itself
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

/// A response's body that ends when the call's time is over, and tells a lost connection as what it is.
struct Ending {
    body: Body,
    end: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(|status| lost(status.into()))));
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(context).map(|()| Some(Err(late()))),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells whether nothing but UNAVAILABLE was answered: what follows a first message is no reason to call again.
fn unavailable(answer: &Result<Response<Body>, Status>) -> bool {
    match answer {
        Ok(response) => Status::from_header_map(response.headers()).is_some_and(|it| it.code() == Code::Unavailable),
        Err(status) => status.code() == Code::Unavailable,
    }
}

/// Returns the status of a call that got no answer: a server's statuses come in headers and trailers, never this way.
fn lost(error: Box<dyn StdError + Send + Sync>) -> Status {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
    let mut texts = Vec::new();
    while let Some(found) = cause {
        if found.is::<TimeoutExpired>() {
            return late();
        }
        texts.push(found.to_string());
        cause = found.source();
    }
    texts.dedup();
    Status::unavailable(format!("no connection: {}", texts.join(": ")))
}

fn late() -> Status {
    Status::deadline_exceeded("the call's time is over")
}

/// Reads a time of the gRPC wire: at most eight digits and a unit.
fn timeout_of(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3_600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes what is left; in seconds where milliseconds have too many digits.
fn timeout_until(deadline: Instant) -> HeaderValue {
    let left = deadline.saturating_duration_since(Instant::now());
    let text = match left.as_millis() {
        millis @ ..100_000_000 => format!("{millis}m"),
        millis => format!("{}S", (millis / 1_000).min(99_999_999)),
    };
    HeaderValue::from_str(&text).expect("digits and a letter")
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn just_the_calls_that_stream_have_no_deadline_of_their_own() {
        let pool = DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let mut streaming: Vec<String> = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(|method| method.is_server_streaming())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        streaming.sort();
        assert_eq!(streaming, STREAMS);
        assert!(!pool.services().any(|service| service.methods().any(|method| method.is_client_streaming())));
    }

    #[test]
    fn times_are_written_and_read_as_the_wire_has_them() {
        for (written, read) in [("2H", 7_200_000), ("3M", 180_000), ("10S", 10_000), ("250m", 250), ("5000u", 5)] {
            assert_eq!(timeout_of(&HeaderValue::from_static(written)), Some(Duration::from_millis(read)));
        }
        for wrong in ["", "m", "-1S", "10", "10x", "µ"] {
            assert_eq!(HeaderValue::from_bytes(wrong.as_bytes()).ok().as_ref().and_then(timeout_of), None, "{wrong}");
        }
        let day = timeout_until(Instant::now() + Duration::from_secs(200_000));
        assert!(["199999S", "200000S"].contains(&day.to_str().unwrap()), "{day:?}");
    }
}
