//! What becomes of calls, against a server that answers as each test says.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cofactor::v1::issue_token_response::Outcome as Answered;
use cofactor::v1::{
    AnswerPending, ChallengeState, ErrorReason, GetJsonWebKeySetRequest, IssueTokenRequest, IssueTokenResponse,
    MfaOtpGrant, PasswordGrant, Tokens, WatchChallengeResponse,
};
use cofactor::{Client, Connector, Outcome};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower_service::Service;

/// A call as the server saw it.
#[derive(Clone)]
struct Seen {
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn issued(&self) -> IssueTokenRequest {
        IssueTokenRequest::decode(self.body.slice(5..)).unwrap() // after the length
    }
}

/// What is answered to the call of a number, from 0.
type Answers = fn(usize) -> Response<Body>;

macro_rules! stand_in {
    ($name:ident, $service:literal) => {
        #[derive(Clone)]
        struct $name(Arc<Mutex<Vec<Seen>>>, Answers);

        impl NamedService for $name {
            const NAME: &'static str = $service;
        }

        impl Service<Request<Body>> for $name {
            type Response = Response<Body>;
            type Error = Infallible;
            type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request<Body>) -> Self::Future {
                let Self(seen, answers) = self.clone();
                Box::pin(async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(Seen { headers: parts.headers, body });
                        seen.len() - 1
                    };
                    Ok(answers(number))
                })
            }
        }
    };
}

stand_in!(TokenService, "cofactor.v1.TokenService");
stand_in!(ChallengeService, "cofactor.v1.ChallengeService");

/// A server, and what it has seen of tokens and of challenges.
struct World {
    client: Client,
    tokens: Arc<Mutex<Vec<Seen>>>,
    challenges: Arc<Mutex<Vec<Seen>>>,
}

impl World {
    async fn of(tokens: Answers, challenges: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen_tokens, seen_challenges) = (Arc::default(), Arc::default());
        let server = Server::builder()
            .add_service(TokenService(Arc::clone(&seen_tokens), tokens))
            .add_service(ChallengeService(Arc::clone(&seen_challenges), challenges));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let client = Connector::new(address).plaintext().client("shop", "5ecret").connect().unwrap();
        Self { client, tokens: seen_tokens, challenges: seen_challenges }
    }

    fn tokens(&self) -> Vec<Seen> {
        self.tokens.lock().unwrap().clone()
    }

    fn challenges(&self) -> Vec<Seen> {
        self.challenges.lock().unwrap().clone()
    }
}

fn refused(code: Code) -> Response<Body> {
    Status::new(code, "as the test says").into_http()
}

fn nobody(_: usize) -> Response<Body> {
    refused(Code::Unimplemented)
}

/// Messages, and then a status.
fn said(messages: &[&dyn Erased], code: Code) -> Response<Body> {
    let mut frames = Vec::new();
    for message in messages {
        let octets = message.octets();
        frames.push(0);
        frames.extend(u32::try_from(octets.len()).unwrap().to_be_bytes());
        frames.extend(octets);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", (code as i32).into());
    let body = Full::new(Bytes::from(frames)).with_trailers::<Ready<_>>(ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

trait Erased {
    fn octets(&self) -> Vec<u8>;
}

impl<M: Message> Erased for M {
    fn octets(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

fn outcome(outcome: Answered) -> Response<Body> {
    said(&[&IssueTokenResponse { outcome: Some(outcome) }], Code::Ok)
}

fn state(state: ChallengeState) -> WatchChallengeResponse {
    WatchChallengeResponse { state: state.into(), expire_time: None }
}

fn otp() -> MfaOtpGrant {
    MfaOtpGrant { mfa_token: "token".into(), otp: "123456".into(), ..Default::default() }
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_asked_again_for_the_same() {
    let world = World::of(
        |number| if number < 3 { refused(Code::Unavailable) } else { outcome(Answered::Tokens(Tokens::default())) },
        nobody,
    )
    .await;

    let answered = world.client.issue(otp()).await.unwrap();

    assert_eq!(answered, Outcome::Tokens(Tokens::default()));
    let seen = world.tokens();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|call| call.issued() == seen[0].issued() && call.issued().request_id.len() == 36));
}

#[tokio::test]
async fn a_server_that_stays_away_is_asked_four_times() {
    let world = World::of(|_| refused(Code::Unavailable), nobody).await;

    let error = world.client.issue(otp()).await.unwrap_err();

    assert_eq!((error.code(), error.reason(), world.tokens().len()), (Code::Unavailable, "", 4));
}

#[tokio::test]
async fn nothing_but_unavailable_is_asked_again() {
    for code in [Code::Internal, Code::ResourceExhausted, Code::Aborted, Code::Unknown, Code::DeadlineExceeded] {
        let answers: Answers = match code {
            Code::Internal => |_| refused(Code::Internal),
            Code::ResourceExhausted => |_| refused(Code::ResourceExhausted),
            Code::Aborted => |_| refused(Code::Aborted),
            Code::Unknown => |_| refused(Code::Unknown),
            _ => |_| refused(Code::DeadlineExceeded),
        };
        let world = World::of(answers, nobody).await;

        let error = world.client.issue(otp()).await.unwrap_err();

        assert_eq!((error.code(), world.tokens().len()), (code, 1));
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Connector::new(gone.to_string()).plaintext().connect().unwrap();

    let error = client.issue(otp()).await.unwrap_err();

    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().starts_with("no connection"), "{error}");
}

#[tokio::test]
async fn a_call_says_who_calls_and_how_long_it_may_take() {
    let world = World::of(|_| refused(Code::Unimplemented), nobody).await;
    let client = world.client.bearer("mfa").unwrap();
    let mut hurried = tonic::Request::new(GetJsonWebKeySetRequest {});
    hurried.set_timeout(Duration::from_millis(700));

    let _ = client.tokens().get_json_web_key_set(GetJsonWebKeySetRequest {}).await;
    let _ = client.tokens().get_json_web_key_set(hurried).await;

    let [usual, hurried] = &world.tokens()[..] else { panic!("two calls") };
    for (name, value) in
        [("cofactor-client-id", "shop"), ("cofactor-client-secret", "5ecret"), ("authorization", "Bearer mfa")]
    {
        assert_eq!(usual.header(name), value);
    }
    let left = |seen: &Seen| seen.header("grpc-timeout").strip_suffix('m').unwrap().parse::<u32>().unwrap();
    assert!((8_000..=10_000).contains(&left(usual)) && left(hurried) <= 700);
}

#[tokio::test]
async fn an_answer_that_stops_half_way_ends_with_the_deadline() {
    let world = World::of(
        |_| {
            let body = Full::new(Bytes::from_static(&[0, 0, 0])).with_trailers(pending());
            Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
        },
        nobody,
    )
    .await;
    let mut request = tonic::Request::new(otp().into());
    request.set_timeout(Duration::from_millis(200));
    let began = Instant::now();

    let error = world.client.issue(request).await.unwrap_err();

    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&began.elapsed()));
}

#[tokio::test]
async fn grants_that_use_nothing_up_need_no_id_and_an_id_that_was_given_stays() {
    let world = World::of(|_| outcome(Answered::Tokens(Tokens::default())), nobody).await;
    world.client.issue(PasswordGrant::default()).await.unwrap();
    world.client.issue(IssueTokenRequest { request_id: "0123456789abcdef".into(), ..otp().into() }).await.unwrap();

    let ids: Vec<_> = world.tokens().iter().map(|call| call.issued().request_id).collect();
    assert_eq!(ids, ["", "0123456789abcdef"]);
}

#[tokio::test]
async fn a_watch_resumes_and_tells_each_state_once() {
    let world = World::of(nobody, |number| match number {
        0 => said(&[&state(ChallengeState::Pending)], Code::Unavailable),
        1 => said(&[&state(ChallengeState::Pending)], Code::Ok),
        _ => said(&[&state(ChallengeState::Pending), &state(ChallengeState::Approved)], Code::Ok),
    })
    .await;
    let mut watch = world.client.watch("mfa", "oob").unwrap();

    let mut states = Vec::new();
    while let Some(told) = watch.message().await.unwrap() {
        states.push(told.state());
    }

    assert_eq!(states, [ChallengeState::Pending, ChallengeState::Approved]);
    let seen = world.challenges();
    assert_eq!((seen.len(), seen[0].header("authorization"), seen[0].header("grpc-timeout")), (3, "Bearer mfa", ""));
}

#[tokio::test]
async fn what_ends_a_watch_for_good_is_not_resumed() {
    let world = World::of(nobody, |_| refused(Code::Unauthenticated)).await;

    let error = world.client.watch("mfa", "oob").unwrap().message().await.unwrap_err();

    assert_eq!((error.code(), world.challenges().len()), (Code::Unauthenticated, 1));
}

#[tokio::test]
async fn where_nothing_streams_tokens_are_polled_for_at_the_server_s_interval() {
    let world = World::of(
        |number| match number {
            0 => {
                let interval = Duration::from_secs(1).try_into().ok();
                outcome(Answered::AnswerPending(AnswerPending { poll_interval: interval }))
            }
            1 => {
                let mut details = ErrorDetails::with_error_info("SLOW_DOWN", "cofactor.v1", []);
                details.set_retry_info(Some(Duration::from_millis(1_500)));
                Status::with_error_details(Code::ResourceExhausted, "slow down", details).into_http()
            }
            _ => outcome(Answered::Tokens(Tokens { scope: "openid".into(), ..Default::default() })),
        },
        nobody,
    )
    .await;
    let began = Instant::now();

    let answered = world.client.await_tokens("mfa", "oob", None).await.unwrap();

    assert_eq!(answered.tokens().unwrap().scope, "openid");
    assert!((Duration::from_millis(2_500)..Duration::from_secs(6)).contains(&began.elapsed()));
    let seen = world.tokens();
    assert!(seen.len() == 3 && seen.iter().all(|call| call.issued() == seen[0].issued()));
}

#[tokio::test]
async fn an_access_token_that_watches_nothing_polls_and_every_other_refusal_ends_the_wait() {
    let watching: Answers = |number| {
        let reason = if number == 0 { "MFA_TOKEN_MALFORMED" } else { "MFA_TOKEN_STALE" };
        let details = ErrorDetails::with_error_info(reason, "cofactor.v1", []);
        Status::with_error_details(Code::Unauthenticated, "no", details).into_http()
    };
    let world = World::of(|_| outcome(Answered::Tokens(Tokens::default())), watching).await;

    let answered = world.client.await_tokens("access", "oob", None).await.unwrap();
    let error = world.client.await_tokens("mfa", "oob", None).await.unwrap_err();

    assert!(answered.tokens().is_some() && error.is(ErrorReason::MfaTokenStale));
    assert_eq!((world.tokens().len(), world.challenges().len()), (1, 2));
}

#[tokio::test]
async fn a_code_that_was_typed_is_redeemed_without_waiting() {
    let world = World::of(
        |_| {
            let details = ErrorDetails::with_error_info("INVALID_BINDING_CODE", "cofactor.v1", []);
            Status::with_error_details(Code::Unauthenticated, "wrong", details).into_http()
        },
        nobody,
    )
    .await;

    let error = world.client.await_tokens("mfa", "oob", Some("123456")).await.unwrap_err();

    assert!(error.is(ErrorReason::InvalidBindingCode));
    assert_eq!((world.tokens().len(), world.challenges().len()), (1, 0));
}
