use std::sync::{Arc, Mutex};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::capped::MAX_ANSWER;
use super::clients::MAX_CLIENTS;
use super::*;
use crate::app::Target;
use crate::egress::resolver::SystemResolver;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What arrived at the scripted Lambda.
#[derive(Clone, Debug)]
struct Seen {
    uri: String,
    kind: String,
    authorization: String,
    body: Bytes,
}

/// An endpoint that answers as it is told and keeps what arrives.
struct Scripted {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    async fn new(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let router = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let header = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            kept.lock().unwrap().push(Seen {
                uri: parts.uri.to_string(),
                kind: header("x-amz-invocation-type"),
                authorization: header("authorization"),
                body,
            });
            answer()
        });
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, seen }
    }

    /// One that answers every request so.
    async fn answering(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Self {
        let headers = headers.to_vec();
        Self::new(move || response(status, &headers, Body::from(body))).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A transport whose operator set this endpoint.
    fn lambda(&self, allowed: &str) -> Lambda {
        lambda(Some(&self.url), allowed)
    }
}

fn response(status: u16, headers: &[(&'static str, &'static str)], body: Body) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

fn lambda(endpoint: Option<&str>, allowed: &str) -> Lambda {
    under(endpoint, allowed, everything())
}

fn everything() -> AddressPolicy {
    AddressPolicy::new(["0.0.0.0/0", "::/0"].map(|all| all.parse().unwrap())).unwrap()
}

fn under(endpoint: Option<&str>, allowed: &str, policy: AddressPolicy) -> Lambda {
    let credentials = Credentials::new("WORKERKEY", "worker-hush", None, None, "test");
    let mut sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .retry_config(RetryConfig::standard())
        .http_client(aws::http_client())
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    if let Some(endpoint) = endpoint {
        sdk = sdk.endpoint_url(endpoint);
    }
    let resolver = Arc::new(SystemResolver::new().unwrap());
    let clients = Clients::new(sdk.build(), Checked::new(policy, resolver));
    Lambda {
        clients,
        allowed: allowed.parse().unwrap(),
        regions: None,
        endpoints: EndpointLimiter::default(),
        invocations: invocations(CONCURRENCY),
        sockets: Arc::new(Sockets::new(CONCURRENCY)),
        bulkhead: Bulkhead::new(Threads::Mute),
        timeout: TIMEOUT,
    }
}

fn webhook(json: &str) -> Webhook {
    match crate::app::webhooks(&format!("[{json}]"), "a").unwrap().0.remove(0).target {
        Target::Lambda(webhook) => webhook,
        Target::Http(_) | Target::Missing | Target::Unusable { .. } => panic!("no function in {json}"),
    }
}

fn delivery(target: Webhook) -> Delivery {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Delivery {
        app_id: "a".to_owned(),
        webhook: "0".into(),
        target: Target::Lambda(target),
        body: Bytes::from_static(br#"{"time_ms":1.0e3, "events":[{"data":"\ud800\u00e9"}]}"#),
        headers: vec![
            header("Accept", "application/json"),
            header("Content-Type", "application/json"),
            header("X-Own", "\"q\"\n"),
            header("accept", "text/plain"),
            header("X-Pusher-Key", "app-key"),
        ],
        standard: None,
        timeout: None,
    }
}

async fn attempt(lambda: &Lambda, json: &str) -> Outcome {
    let webhook = webhook(json);
    lambda.attempt(&webhook, &delivery(webhook.clone()), 3).await
}

fn reason(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Transient { reason, .. } | Outcome::Deferred(reason) | Outcome::Permanent(reason) => reason,
        Outcome::Delivered => panic!("delivered"),
    }
}

#[tokio::test]
async fn a_function_is_sent_soketis_payload_and_is_waited_for_or_not() {
    let server = Scripted::answering(200, &[], "\"ok\"").await;
    let lambda = server.lambda("*");
    assert_eq!(attempt(&lambda, r#"{"lambda_function":"orders:live"}"#).await, Outcome::Delivered);
    let arn =
        r#"{"lambda_function":"arn:aws:lambda:eu-west-1:123456789012:function:f","lambda":{"async":1}}"#;
    assert_eq!(attempt(&lambda, arn).await, Outcome::Delivered);
    let [first, second] = server.seen().try_into().unwrap();
    assert_eq!(first.uri, "/2015-03-31/functions/orders/invocations?Qualifier=live");
    assert_eq!((first.kind.as_str(), second.kind.as_str()), ("RequestResponse", "Event"));
    let path =
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af/invocations";
    assert_eq!(second.uri, path);
    assert!(first.authorization.contains("WORKERKEY/") && first.authorization.contains("/us-east-1/lambda/"));
    assert!(second.authorization.contains("/eu-west-1/lambda/"), "the ARN's region where none is named");
    assert_eq!(
        first.body,
        br#"{"payload":{"time_ms":1.0e3, "events":[{"data":"\ud800\u00e9"}]},"headers":{"accept":"text/plain","Content-Type":"application/json","X-Own":"\"q\"\n","X-Pusher-Key":"app-key","X-Hookferry-Attempt":"3"}}"#.as_slice()
    );
}

#[tokio::test]
async fn a_function_registered_as_sockudo_does_is_sent_what_sockudo_sends_and_the_headers() {
    let server = Scripted::answering(202, &[], "").await;
    let named = r#"{"lambda":{"function_name":"f","region":"eu-west-1"}}"#;
    assert_eq!(attempt(&server.lambda("*"), named).await, Outcome::Delivered);
    let seen = server.seen().remove(0);
    assert_eq!(seen.kind, "Event");
    assert!(seen.authorization.contains("/eu-west-1/lambda/"));
    assert_eq!(
        seen.body,
        br#"{"time_ms":1.0e3, "events":[{"data":"\ud800\u00e9"}],"headers":{"accept":"text/plain","Content-Type":"application/json","X-Own":"\"q\"\n","X-Pusher-Key":"app-key","X-Hookferry-Attempt":"3"}}"#.as_slice()
    );
}

#[tokio::test]
async fn an_accepted_event_is_delivered() {
    let server = Scripted::answering(202, &[], "").await;
    let event = r#"{"lambda_function":"f","lambda":{"async":true}}"#;
    assert_eq!(attempt(&server.lambda("*"), event).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_success_that_is_not_lambdas_is_no_delivery() {
    let waited = r#"{"lambda_function":"f"}"#;
    let event = r#"{"lambda_function":"f","lambda":{"async":true}}"#;
    let id = [("x-amzn-requestid", "8b2c")];
    let version = [("x-amz-executed-version", "$LATEST")];
    for (json, status, headers, body) in [
        (waited, 200, &[][..], "<html>Sign in</html>"),
        (event, 200, &[], "<html>Sign in</html>"),
        (waited, 200, &[], ""),
        (waited, 202, &[], ""),
        (waited, 202, &id, ""),
        (waited, 204, &id, ""),
        (event, 204, &[], ""),
        (event, 201, &id, "{}"),
    ] {
        let server = Scripted::answering(status, headers, body).await;
        match attempt(&server.lambda("*"), json).await {
            Outcome::Transient { reason: reason @ Reason::FunctionService(_), .. } => {
                let reason = reason.to_string();
                let says =
                    ["LAMBDA_ENDPOINT", &format!("status {status}"), body.get(..2).unwrap_or("no body")];
                assert!(says.iter().all(|part| reason.contains(part)), "{reason}");
            }
            other => panic!("{json} {status} {body}: {other:?}"),
        }
    }
    for (json, status, headers, body) in [
        (waited, 200, &id[..], "not JSON"),
        (waited, 200, &version, ""),
        (waited, 200, &[], "null"),
        (event, 202, &[], ""),
        (event, 200, &[], "null"),
    ] {
        let server = Scripted::answering(status, headers, body).await;
        assert_eq!(attempt(&server.lambda("*"), json).await, Outcome::Delivered, "{json} {status} {body}");
    }
    let long = move || response(200, &[], Body::from(format!("\"{}\"", "x".repeat(2 * MAX_ANSWER))));
    assert_eq!(attempt(&Scripted::new(long).await.lambda("*"), waited).await, Outcome::Delivered);
    let server = Scripted::answering(200, &[], "<html>").await;
    let tried = server.lambda("*").dry_run(&webhook(waited)).await.unwrap_err();
    assert!(tried.to_string().contains("LAMBDA_ENDPOINT"), "{tried}");
    let server = Scripted::answering(204, &[], "").await;
    assert_eq!(server.lambda("*").dry_run(&webhook(waited)).await.unwrap(), "f");
}

#[tokio::test]
async fn a_failure_in_html_is_told_as_a_proxys() {
    for status in [403, 404, 429, 502] {
        let page = [("content-type", "text/html")];
        let server = Scripted::answering(status, &page, "\n<html>\u{1b}Blocked</html>").await;
        let told = reason(attempt(&server.lambda("*"), r#"{"lambda_function":"f"}"#).await);
        assert_eq!(told.code(), "function_service", "{told}");
        let told = told.to_string();
        assert!(told.contains("a proxy") && told.contains("Blocked") && !told.contains("role"), "{told}");
        assert!(!told.contains(['\n', '\u{1b}']), "{told:?}");
    }
}

#[tokio::test]
async fn the_region_is_the_options_else_the_webhooks_else_the_arns() {
    let server = Scripted::answering(200, &[], "null").await;
    let lambda = server.lambda("*");
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
    for (json, region) in [
        (r#"{"region":"eu-west-2","client_options":{"region":"eu-west-3"}}"#, "eu-west-3"),
        (r#"{"region":"eu-west-2","client_options":{"region":null}}"#, "eu-west-2"),
        (r#"{"region":"","client_options":[]}"#, "eu-west-1"),
        ("null", "eu-west-1"),
    ] {
        attempt(&lambda, &format!(r#"{{"lambda_function":"{arn}","lambda":{json}}}"#)).await;
        let signed = server.seen().pop().unwrap().authorization;
        assert!(signed.contains(&format!("/{region}/lambda/")), "{json}: {signed}");
    }
}

#[tokio::test]
async fn a_function_that_fails_is_told_with_its_type_and_message_shortened() {
    let error = [("x-amz-function-error", "Unhandled")];
    for (body, told) in [
        (
            r#"{"errorMessage":"no\r\n\u0000such order \uffff","errorType":"KeyError","stackTrace":["x"]}"#,
            "KeyError: no   such order \u{fffd}".to_owned(),
        ),
        (
            r#"{"errorMessage":"Task timed out after 3.00 seconds"}"#,
            "Task timed out after 3.00 seconds".to_owned(),
        ),
        (r#"{"errorType":"Runtime.ExitError","errorMessage":""}"#, "Runtime.ExitError".to_owned()),
        (r#"{"errorType":"E","errorMessage":7}"#, "E: 7".to_owned()),
        ("[1,2]", "Unhandled: [1,2]".to_owned()),
        ("", "Unhandled: ".to_owned()),
    ] {
        let server = Scripted::answering(200, &error, body).await;
        let outcome = attempt(&server.lambda("*"), r#"{"lambda_function":"f"}"#).await;
        assert_eq!(outcome, Outcome::transient(Reason::FunctionFailed(told)), "{body}");
    }
    let long = move || {
        let body = format!(r#"{{"errorType":"E","errorMessage":"{}"}}"#, "é".repeat(MAX_ANSWER));
        response(200, &error, Body::from(body))
    };
    let server = Scripted::new(long).await;
    let told = reason(attempt(&server.lambda("*"), r#"{"lambda_function":"f"}"#).await).to_string();
    assert!(told.contains("Unhandled: {\"errorType\":\"E\"") && told.chars().count() < 256, "{told}");
}

#[tokio::test]
async fn each_error_of_lambdas_has_its_reason_is_transient_and_not_retried_by_the_sdk() {
    let kind = |name: &'static str| [("x-amzn-errortype", name), ("retry-after", "7")];
    let body = r#"{"Message":"why","message":"why"}"#;
    for (status, name, code) in [
        (429, "TooManyRequestsException", "function_throttled"),
        (502, "EC2ThrottledException", "function_throttled"),
        (404, "ResourceNotFoundException", "function_missing"),
        (403, "AccessDeniedException", "function_denied"),
        (403, "UnrecognizedClientException", "function_denied"),
        (403, "InvalidSignatureException", "function_denied"),
        (502, "KMSAccessDeniedException", "function_key"),
        (502, "KMSDisabledException", "function_key"),
        (502, "KMSInvalidStateException", "function_key"),
        (502, "KMSNotFoundException", "function_key"),
        (413, "RequestTooLargeException", "function_service"),
        (400, "InvalidParameterValueException", "function_service"),
        (500, "ServiceException", "function_service"),
        (503, "SomethingNew", "function_service"),
        (429, "SomethingNew", "function_throttled"),
    ] {
        let server = Scripted::answering(status, &kind(name), body).await;
        match attempt(&server.lambda("*"), r#"{"lambda_function":"f"}"#).await {
            Outcome::Transient { reason, retry_after } => {
                assert_eq!((reason.code(), retry_after), (code, Some(Duration::from_secs(7))), "{name}");
                assert!(reason.to_string().ends_with(&format!("{name}: why")), "{reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(server.seen().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    const CHUNK: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);
    const ID: (&str, &str) = ("x-amzn-requestid", "8b2c");
    const WITH_LENGTH: [(&str, &str); 2] = [ID, ("content-length", "1073741824")];
    for headers in [&[ID][..], &WITH_LENGTH] {
        let sent = Arc::new(Mutex::new(0_usize));
        let counted = Arc::clone(&sent);
        let server = Scripted::new(move || {
            let counted = Arc::clone(&counted);
            let huge = stream::repeat_with(move || {
                *counted.lock().unwrap() += CHUNK.len();
                Ok::<_, std::io::Error>(CHUNK)
            });
            response(200, headers, Body::from_stream(huge.take(1 << 14)))
        })
        .await;
        assert_eq!(attempt(&server.lambda("*"), r#"{"lambda_function":"f"}"#).await, Outcome::Delivered);
        // What the sockets buffer is a few megabytes; the rest of the gigabyte stays where it is.
        assert!(*sent.lock().unwrap() < 64 << 20, "{sent:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure_to_connect_and_no_answer_a_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = Lambda { timeout: Duration::from_millis(200), ..lambda(Some(&url), "*") };
    let timeouts = aws_config::timeout::TimeoutConfig::builder().operation_timeout(silent.timeout).build();
    let sdk = silent.clients.sdk().to_builder().timeout_config(timeouts).build();
    let silent = Lambda {
        clients: Clients::new(sdk, Checked::new(everything(), Arc::new(SystemResolver::new().unwrap()))),
        ..silent
    };
    let outcome = attempt(&silent, r#"{"lambda_function":"f"}"#).await;
    assert_eq!(outcome, Outcome::transient(Reason::Timeout(silent.timeout)));
    drop(listener);
    let refused = reason(attempt(&lambda(Some(&url), "*"), r#"{"lambda_function":"f"}"#).await);
    assert_eq!(refused.code(), "connect", "{refused}");
}

#[tokio::test]
async fn the_workers_role_signs_for_no_endpoint_of_an_apps() {
    let (operators, apps) =
        (Scripted::answering(200, &[], "1").await, Scripted::answering(200, &[], "1").await);
    let lambda = operators.lambda("*");
    let url = &apps.url;
    let host = url.trim_start_matches("http://");
    for options in [
        format!(r#"{{"endpoint":"{url}"}}"#),
        format!(r#"{{"endpoint":"{host}"}}"#),
        format!(r#"{{"endpoint":"{url}","sessionToken":"t"}}"#),
        format!(r#"{{"endpoint":"{url}","credentials":{{}}}}"#),
        format!(r#"{{"endpoint":"{url}","credentials":null,"accessKeyId":"","secretAccessKey":""}}"#),
        format!(r#"{{"endpoint":"{url}","accessKeyId":"A"}}"#),
        format!(r#"{{"endpoint":"{url}","credentials":{{"secretAccessKey":"hush"}}}}"#),
        r#"{"endpoint":"http://u:hush@h","accessKeyId":"A","secretAccessKey":"hush"}"#.to_owned(),
        r#"{"endpoint":"ftp://h","accessKeyId":"A","secretAccessKey":"hush"}"#.to_owned(),
        r#"{"endpoint":7}"#.to_owned(),
        r#"{"region":"x@evil.example/"}"#.to_owned(),
        format!(r#"{{"region":"{host}/?"}}"#),
        r#""hush""#.to_owned(),
        "[1]".to_owned(),
    ] {
        let json = format!(r#"{{"lambda_function":"f","lambda":{{"client_options":{options}}}}}"#);
        match attempt(&lambda, &json).await {
            Outcome::Permanent(reason @ Reason::FunctionOptions(_)) => {
                assert!(!reason.to_string().contains("hush"), "{reason}");
            }
            other => panic!("{options}: {other:?}"),
        }
    }
    let region = r#"{"lambda_function":"f","lambda":{"region":"evil.example#"}}"#;
    assert_eq!(reason(attempt(&lambda, region).await).code(), "function_options");
    assert!(operators.seen().is_empty() && apps.seen().is_empty());

    for options in [
        r#""accessKeyId":"APPKEY","secretAccessKey":"hush""#,
        r#""credentials":{"accessKeyId":"APPKEY","secretAccessKey":"hush","sessionToken":"t"}"#,
    ] {
        let options = format!(r#"{{"endpoint":"{url}",{options},"maxRetries":9}}"#);
        let json = format!(r#"{{"lambda_function":"f","lambda":{{"client_options":{options}}}}}"#);
        assert_eq!(attempt(&lambda, &json).await, Outcome::Delivered);
    }
    assert!(operators.seen().is_empty());
    assert_eq!(apps.seen().len(), 2);
    assert!(apps.seen().iter().all(|seen| seen.authorization.contains("APPKEY/")), "{:?}", apps.seen());
    // Its own credentials alone are for AWS, which is here the operator's endpoint.
    let own = r#"{"lambda_function":"f","lambda":{"client_options":{"accessKeyId":"APPKEY","secretAccessKey":"h"}}}"#;
    assert_eq!(attempt(&lambda, own).await, Outcome::Delivered);
    assert!(operators.seen()[0].authorization.contains("APPKEY/"));
}

#[tokio::test]
async fn a_function_that_apps_may_not_name_is_refused_for_good_and_not_asked() {
    let server = Scripted::answering(200, &[], "1").await;
    let lambda = server.lambda("orders-*, arn:aws:lambda:us-east-1:123456789012:function:shared");
    for function in [
        "others",
        "123456789012:function:orders-new",
        "arn:aws:lambda:us-east-1:999999999999:function:shared",
    ] {
        let outcome = attempt(&lambda, &format!(r#"{{"lambda_function":"{function}"}}"#)).await;
        match outcome {
            Outcome::Permanent(reason @ Reason::FunctionRefused(_)) => {
                assert!(reason.to_string().contains("WEBHOOKS_ALLOWED_FUNCTIONS"), "{reason}");
            }
            other => panic!("{function}: {other:?}"),
        }
    }
    let unnamable = Webhook { function: "../others".to_owned(), ..webhook(r#"{"lambda_function":"f"}"#) };
    let unnamable = lambda.attempt(&unnamable, &delivery(unnamable.clone()), 1).await;
    assert!(matches!(unnamable, Outcome::Permanent(Reason::FunctionName(_))), "{unnamable:?}");
    assert!(server.seen().is_empty());
    for function in ["orders-new:live", "123456789012:function:shared"] {
        let outcome = attempt(&lambda, &format!(r#"{{"lambda_function":"{function}"}}"#)).await;
        assert_eq!(outcome, Outcome::Delivered, "{function}");
    }
}

#[tokio::test]
async fn clients_are_made_once_and_bounded() {
    let server = Scripted::answering(200, &[], "1").await;
    let lambda = server.lambda("*");
    for _ in 0..3 {
        for function in ["f", "g:live", "123456789012:function:f"] {
            attempt(&lambda, &format!(r#"{{"lambda_function":"{function}"}}"#)).await;
        }
    }
    assert_eq!(lambda.clients.len(), 1, "one for all functions of a region");
    let of = |region: &str| Options { region: region.into(), endpoint: None, credentials: None };
    for n in 0..MAX_CLIENTS * 2 {
        let json = format!(r#"{{"lambda_function":"f","lambda":{{"region":"eu-west-{n}"}}}}"#);
        assert_eq!(attempt(&lambda, &json).await, Outcome::Delivered);
        assert!(lambda.clients.keeps(&of(REGION)), "what is in use stays");
        attempt(&lambda, r#"{"lambda_function":"f"}"#).await;
    }
    assert_eq!(lambda.clients.len(), MAX_CLIENTS);
    assert!(!lambda.clients.keeps(&of("eu-west-0")), "the oldest goes");
    let last = server.seen().pop().unwrap();
    assert!(last.authorization.contains("/us-east-1/"), "and each is the right one");
}

#[tokio::test]
async fn an_address_of_an_apps_endpoint_is_checked_before_it_is_dialled() {
    let (operators, apps) =
        (Scripted::answering(200, &[], "1").await, Scripted::answering(200, &[], "1").await);
    let port = apps.url.rsplit(':').next().unwrap();
    let refusing = under(Some(&operators.url), "*", AddressPolicy::default());
    let json = |host: &str| {
        let options =
            format!(r#"{{"endpoint":"http://{host}:{port}","accessKeyId":"A","secretAccessKey":"h"}}"#);
        format!(r#"{{"lambda_function":"f","lambda":{{"client_options":{options}}}}}"#)
    };
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "localhost"] {
        let outcome = attempt(&refusing, &json(host)).await;
        assert!(matches!(outcome, Outcome::Permanent(Reason::Refused(_))), "{host}: {outcome:?}");
        assert!(reason(outcome).to_string().contains("WEBHOOKS_ALLOWED_NETWORKS"), "{host}");
    }
    assert!(apps.seen().is_empty());
    let lenient = lambda(Some(&operators.url), "*");
    assert_eq!(attempt(&lenient, &json("localhost")).await, Outcome::Delivered);
    assert_eq!(apps.seen().len(), 1);
    // The operator's own endpoint is the operator's business.
    assert_eq!(attempt(&refusing, r#"{"lambda_function":"f"}"#).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_region_that_aws_does_not_have_is_neither_looked_up_nor_dialled() {
    let made_up = r#"{"lambda_function":"f","lambda":{"region":"made-up-1"}}"#;
    let server = Scripted::answering(200, &[], "1").await;
    assert_eq!(attempt(&server.lambda("*"), made_up).await, Outcome::Delivered, "the operator's endpoint");
    let mut strict = server.lambda("*");
    strict.regions = Some(Regions::default());
    let outcome = attempt(&strict, made_up).await;
    assert!(matches!(outcome, Outcome::Permanent(Reason::FunctionOptions(_))), "{outcome:?}");
    assert!(reason(outcome).to_string().contains("WEBHOOKS_ALLOWED_REGIONS"));
    let tried = strict.dry_run(&webhook(made_up)).await.unwrap_err();
    assert!(tried.to_string().contains("WEBHOOKS_ALLOWED_REGIONS"), "{tried}");
    assert_eq!(server.seen().len(), 1);
    strict.regions = Some("made-up-1".parse().unwrap());
    assert_eq!(attempt(&strict, made_up).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_busy_endpoint_of_an_apps_is_told_as_what_it_is() {
    let (operators, apps) =
        (Scripted::answering(200, &[], "1").await, Scripted::answering(200, &[], "1").await);
    let lambda = lambda(Some(&operators.url), "*");
    let url = url::Url::parse(&apps.url).unwrap();
    let options = format!(r#"{{"endpoint":"{}","accessKeyId":"A","secretAccessKey":"h"}}"#, apps.url);
    let json = format!(r#"{{"lambda_function":"f","lambda":{{"client_options":{options}}}}}"#);
    let app_id = delivery(webhook(&json)).app_id;
    let under_way: Vec<_> = (0..16).map(|_| lambda.endpoints.enter(&app_id, &url).unwrap()).collect();
    let outcome = attempt(&lambda, &json).await;
    assert_eq!(outcome, Outcome::Deferred(Reason::EndpointBusy(16)));
    let said = reason(outcome).to_string();
    assert!(said.contains("client_options") && !said.contains("WEBHOOKS_MAX_PER_HOST"), "{said}");
    drop(under_way);
    assert_eq!((attempt(&lambda, &json).await, apps.seen().len()), (Outcome::Delivered, 1));
}

#[tokio::test]
async fn an_app_whose_invocations_take_long_leaves_some_to_others() {
    let server = Scripted::answering(200, &[], "1").await;
    let lambda = server.lambda("*");
    let json = r#"{"lambda_function":"f"}"#;
    let delivery = delivery(webhook(json));
    // The app itself waits, others have what it leaves: half of what is not kept for those that answer.
    let held: Vec<_> =
        std::iter::from_fn(|| lambda.invocations.take(&delivery.app_id, Purpose::Any)).collect();
    assert_eq!(held.len(), (CONCURRENCY - CONCURRENCY / RESERVED) / 2);
    assert_eq!(attempt(&lambda, json).await, Outcome::Deferred(Reason::InvocationsBusy(CONCURRENCY)));
    let other = Delivery { app_id: "other".to_owned(), ..delivery.clone() };
    assert_eq!(lambda.attempt(&webhook(json), &other, 1).await, Outcome::Delivered);
    assert!(lambda.invocations.answers("other") && lambda.sockets.app_answers("other"));
    drop(held);
    assert_eq!(attempt(&lambda, json).await, Outcome::Delivered);
    // An invocation is a connection among those of all deliveries.
    let all: Vec<_> =
        (0..1000).filter_map(|n| lambda.sockets.take(&format!("app {n}"), n, Purpose::Any)).collect();
    let new = Delivery { app_id: "new".to_owned(), ..delivery };
    assert_eq!(lambda.attempt(&webhook(json), &new, 1).await, Outcome::Deferred(Reason::NoDescriptor));
    drop(all);
    assert_eq!((server.seen().len(), lambda.sockets.taken(), lambda.invocations.taken()), (2, 0, 0));
}

#[tokio::test]
async fn no_connection_to_an_endpoint_of_an_apps_is_kept() {
    let lambda = lambda(None, "*");
    let mut ended = Vec::new();
    for n in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let json = format!(
            r#"{{"lambda_function":"f","lambda":{{"client_options":{{"endpoint":"http://{}","credentials":{{"accessKeyId":"K","secretAccessKey":"s"}}}}}}}}"#,
            listener.local_addr().unwrap()
        );
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1 << 16];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = "HTTP/1.1 200 OK\r\nx-amzn-requestid: 1\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Whoever keeps it neither ends it nor says more.
            while stream.read(&mut request).await.is_ok_and(|length| length > 0) {}
        });
        assert_eq!(attempt(&lambda, &json).await, Outcome::Delivered, "{n}");
        ended.push(receiver);
    }
    for receiver in ended {
        tokio::time::timeout(Duration::from_secs(20), receiver).await.unwrap().unwrap();
    }
}
