//! `QUEUE_SQS_*`: which queue, where it is reached, and how receives and memory are bounded.
//!
//! Every error and warning goes to the reader, which names all of them at once. Nothing is asked of the queue here: what it
//! says of itself is looked at by `run::preflight`.

use std::time::Duration;

use url::Url;

use super::client_options::{self, ClientOptions};
use super::variables::{Raw, Reader};
use crate::aws::endpoint::{
    Destination, destination, endpoint, has_scheme, http_url, named_region, no_region, region_hint,
};
use crate::aws::region::is_region;

/// Whoever sets a longer visibility timeout may have meant milliseconds.
const MOST_USUAL_VISIBILITY: Duration = Duration::from_secs(3600);

/// Which queue, and how it is used.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// The queue's URL.
    pub url: String,
    /// Its region.
    pub region: String,
    /// Another endpoint than AWS' own.
    pub endpoint: Option<String>,
    /// Whether that, or what the SDK finds, is an endpoint of AWS'.
    pub at_aws: bool,
    /// What of soketi's client options has an equivalent.
    pub client: ClientOptions,
    /// Messages a receive asks for.
    pub batch: usize,
    /// A pause before every poll.
    pub pause: Duration,
    /// How long a receive waits.
    pub wait: Duration,
    /// The visibility timeout, if it is not to be the queue's own.
    pub visibility: Option<Duration>,
    /// The dead-letter queue, if it is not to be the queue's own.
    pub dead_letter_url: Option<String>,
    /// Whether to run on a queue whose `maxReceiveCount` is too low for the retry window.
    pub allow_low_receive_count: bool,
    /// Messages in memory at once.
    pub max_in_flight: usize,
    /// Bytes of bodies in memory, past which no poll starts.
    pub max_bytes: usize,
}

pub(super) fn read(raw: &Raw, reader: &mut Reader) -> QueueConfig {
    let queue = &raw.queue;
    if let Some(driver) = raw.plain.queue_driver.as_deref().filter(|driver| *driver != "sqs") {
        reader.error(format!("QUEUE_DRIVER: {driver:?} is not sqs, the one queue that hookferry works on"));
    }
    for name in &raw.unsendable {
        reader.error(format!("{name}: holds a blank, a control character or one beyond ASCII"));
    }
    let url = queue.url.as_deref().ok_or(QueueUrlError::Missing).and_then(queue_url);
    let url = reader.result("QUEUE_SQS_URL", url);
    let dead_letter_url =
        queue.dlq_url.as_deref().and_then(|dead| reader.result("QUEUE_SQS_DLQ_URL", queue_url(dead)));
    let endpoint =
        queue.endpoint.as_deref().and_then(|text| reader.result("QUEUE_SQS_ENDPOINT", endpoint(text)));
    let wait = reader.seconds("QUEUE_SQS_WAIT_TIME_SECONDS", queue.wait_time_seconds.as_ref(), 0..=20);
    if wait.is_zero() {
        reader.warn(
            "QUEUE_SQS_WAIT_TIME_SECONDS is 0: no receive waits for a message, so that an idle queue is asked about once a \
             second and a job waits up to a second for that (leave it out, or set 10: fewer calls and no delay)"
                .to_owned(),
        );
    }
    let mut client = client_options::read(queue.client_options.as_deref(), wait, reader);
    let given = client.endpoint.clone().or(endpoint);
    let (region, endpoint, at_aws) = reached_at(raw, url.as_ref(), given, &client, reader);
    if let (Some(dead), Some(url)) = (&dead_letter_url, &url) {
        let dialled = endpoint.as_ref().or_else(|| Some(ambient_endpoint(raw)?.1));
        beside(dead, url, dialled.and_then(|text| Url::parse(text).ok()).as_ref(), reader);
    }
    if endpoint.is_some() && (client.sdk.dual_stack || client.sdk.fips) {
        reader.warn(
            "QUEUE_SQS_CLIENT_OPTIONS: useDualstackEndpoint and useFipsEndpoint have no effect beside an endpoint"
                .to_owned(),
        );
        (client.sdk.dual_stack, client.sdk.fips) = (false, false);
    }
    if queue.process_batch.is_some() {
        reader.warn(
            "QUEUE_SQS_PROCESS_BATCH has no effect: groups are worked side by side, each in order".to_owned(),
        );
    }
    let visibility = reader.optional_seconds(
        "QUEUE_SQS_VISIBILITY_TIMEOUT",
        queue.visibility_timeout.as_ref(),
        1..=43_200,
    );
    if let Some(long) = visibility.filter(|visibility| *visibility > MOST_USUAL_VISIBILITY) {
        reader.warn(format!(
            "QUEUE_SQS_VISIBILITY_TIMEOUT: it is in seconds, and after a crash no other worker gets a job for {} min (30 to 120 s \
             are usual: it is extended while a job is worked on)",
            long.as_secs() / 60
        ));
    }
    QueueConfig {
        url: url.map(String::from).unwrap_or_default(),
        region,
        endpoint,
        at_aws,
        client,
        batch: reader.number("QUEUE_SQS_BATCH_SIZE", queue.batch_size.as_ref(), 1..=10),
        pause: reader.milliseconds(
            "QUEUE_SQS_POLLING_WAIT_TIME_MS",
            queue.polling_wait_time_ms.as_ref(),
            0..=60_000,
        ),
        wait,
        visibility,
        dead_letter_url: dead_letter_url.map(String::from),
        allow_low_receive_count: reader
            .truth("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT", queue.allow_low_receive_count.as_ref())
            .unwrap_or_default(),
        max_in_flight: reader.number("QUEUE_SQS_MAX_IN_FLIGHT", queue.max_in_flight.as_ref(), 1..=100_000),
        max_bytes: reader.number(
            "QUEUE_SQS_MAX_IN_FLIGHT_BYTES",
            queue.max_in_flight_bytes.as_ref(),
            1 << 20..=16 << 30,
        ),
    }
}

/// The region that requests are signed for, the endpoint where it is not for the SDK to find, and whether it is AWS'.
///
/// `given` is the endpoint that is configured, if one is. The region in the name of an endpoint of AWS' is
/// the only one that works there, whatever the variables say: so it is with soketi's SDK.
fn reached_at(
    raw: &Raw,
    url: Option<&Url>,
    given: Option<String>,
    client: &ClientOptions,
    reader: &mut Reader,
) -> (String, Option<String>, bool) {
    // As with the JavaScript SDK, `sslEnabled` is for an endpoint that has no scheme.
    let scheme = if client.ssl { "https" } else { "http" };
    let given = given.map(|text| if has_scheme(&text) { text } else { format!("{scheme}://{text}") });
    let given = given.and_then(|text| endpoint(&text).ok());
    let ambient = ambient_endpoint(raw);
    if let Some((name, text)) = ambient.filter(|_| given.is_none()) {
        reader.result(name, http_url(text));
    }
    let ambient = ambient.map(|(_, text)| text);
    // The SDK takes its own as they stand: one that has to be mended is given to it.
    let mended = ambient.and_then(|text| endpoint(text).ok());
    let is_whole = |mended: &String| ambient.is_some_and(|text| text.trim_end_matches('/') == mended);
    let given = given.or_else(|| mended.filter(|mended| raw.endpoint_is_wrapped || !is_whole(mended)));
    let configured = given.as_ref().or(ambient).and_then(|text| Url::parse(text).ok());
    let leads = configured.as_ref().or(url).map_or(Destination::Foreign, destination);
    if let Destination::NoRegion(region) = &leads {
        let name = if given.is_some() { "QUEUE_SQS_ENDPOINT" } else { "QUEUE_SQS_URL" };
        reader.error(format!("{name}: {}", no_region(region)));
    }
    let aws = leads != Destination::Foreign;
    let hint = url.and_then(|url| destination(url).region().map(str::to_owned).or_else(|| region_hint(url)));
    let own = leads.region();
    let mut region = None;
    for (name, value) in [
        ("QUEUE_SQS_CLIENT_OPTIONS", client.region.as_ref()),
        ("QUEUE_SQS_REGION", raw.queue.region.as_ref()),
    ] {
        let Some(told) = value.and_then(|value| reader.result(name, named_region(value, aws))) else {
            continue;
        };
        if let Some(own) = own.filter(|own| *own != told) {
            reader.warn(format!(
                "{name}: {told} is not the region of the endpoint, {own}; requests are signed for {own}"
            ));
        }
        region = region.or(Some(told));
    }
    let mut ambient = || {
        let regions = [("AWS_REGION", &raw.aws.region), ("AWS_DEFAULT_REGION", &raw.aws.default_region)];
        let mut set = regions.into_iter().filter_map(|(name, region)| Some((name, region.as_ref()?)));
        let (name, value) = set.next()?;
        reader.result(name, named_region(value, aws))
    };
    let region = own
        .map(str::to_owned)
        .or(region)
        .or(hint)
        .or_else(&mut ambient)
        .unwrap_or_else(|| "us-east-1".to_owned());
    let own_name = |url: &Url| match destination(url) {
        Destination::Regional(_) => None,
        // Its certificate is for its name, which has no dot at the end.
        Destination::Named(_) | Destination::NoRegion(_) | Destination::Foreign => {
            Some(url.origin().ascii_serialization())
        }
    };
    let endpoint = given.or_else(|| url.filter(|_| configured.is_none()).and_then(own_name));
    (region, endpoint, aws)
}

/// The endpoint in the SDK's own variables, which it reads by itself unless it is told not to.
fn ambient_endpoint(raw: &Raw) -> Option<(&'static str, &String)> {
    if raw.endpoints_are_ignored {
        return None;
    }
    let names =
        [("AWS_ENDPOINT_URL_SQS", &raw.aws.endpoint_url_sqs), ("AWS_ENDPOINT_URL", &raw.aws.endpoint_url)];
    names.into_iter().find_map(|(name, text)| Some((name, text.as_ref()?)))
}

/// Whether a dead-letter queue is where the queue is: both are asked for at one endpoint, which is `dialled` where it is
/// not for the SDK to find. By its URL elsewhere, it would be looked for there, or be another queue of that name.
fn beside(dead: &Url, url: &Url, dialled: Option<&Url>, reader: &mut Reader) {
    let place = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    let at = dialled.unwrap_or(url);
    if place(dead) == place(url) || place(dead) == place(at) {
        return;
    }
    let named = |url: &Url| {
        let origin = url.origin().ascii_serialization();
        destination(url).region().map_or(origin, str::to_owned)
    };
    let (own, other) = (destination(at), destination(dead));
    match (own.region(), other.region()) {
        (Some(own), Some(other)) if own == other => {}
        // An emulator may know its queues by AWS' URLs, and has names of its own in different networks.
        (None, _) => reader.warn(format!(
            "QUEUE_SQS_DLQ_URL: it is asked for at the queue's endpoint, {}, and not at {}",
            named(at),
            named(dead)
        )),
        (Some(own), _) => reader.error(format!(
            "QUEUE_SQS_DLQ_URL: a dead-letter queue has to be in the queue's region and at its endpoint, {own}; this one is at {}",
            named(dead)
        )),
    }
}

/// What tells a queue's URL.
const GET_URL: &str = "aws sqs get-queue-url";

/// Why a text is no FIFO queue's URL, and which URL was meant.
#[derive(Debug, thiserror::Error)]
enum QueueUrlError {
    #[error("is not set; it is the URL of the SQS FIFO queue that soketi sends to")]
    Missing,
    #[error("{text:?} is the queue's ARN; its URL is asked for, {url} at AWS")]
    Arn { text: String, url: String },
    #[error("{text:?} is the queue's ARN; its URL is asked for ({GET_URL} --queue-name {queue})")]
    ForeignArn { text: String, queue: String },
    #[error(
        "{0:?} is no URL but a queue's name; its URL is https://sqs.REGION.amazonaws.com/ACCOUNT/{0} at AWS ({GET_URL} --queue-name \
         {0})"
    )]
    Name(String),
    /// It is none, in `http_url`'s words.
    #[error("{0}")]
    Url(String),
    #[error("{0:?} has a slash at its end; did you mean {meant:?}?", meant = .0.trim_end_matches('/'))]
    Slash(String),
    #[error("{0:?} does not end in .fifo: only a FIFO queue keeps events in order")]
    NotFifo(String),
}

#[allow(clippy::case_sensitive_file_extension_comparisons, reason = "SQS' suffix is lower case")]
fn queue_url(text: &str) -> Result<Url, QueueUrlError> {
    let name = |name: &str| {
        name.len() <= 80 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = || text.to_owned();
    match text.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "sqs", region, account, queue] if name(queue) && is_region(region) => {
            let suffix = match *partition {
                "aws-cn" => "amazonaws.com.cn",
                "aws-eusc" => "amazonaws.eu",
                "aws" | "aws-us-gov" => "amazonaws.com",
                _ => {
                    return Err(QueueUrlError::ForeignArn { text: given(), queue: (*queue).to_owned() });
                }
            };
            let url = format!("https://sqs.{region}.{suffix}/{account}/{queue}");
            return Err(QueueUrlError::Arn { text: given(), url });
        }
        [queue] if name(queue) => return Err(QueueUrlError::Name(given())),
        _ => {}
    }
    let url = http_url(text).map_err(QueueUrlError::Url)?;
    if url.path().trim_end_matches('/').ends_with(".fifo") && url.path().ends_with('/') {
        return Err(QueueUrlError::Slash(given()));
    }
    if !url.path().ends_with(".fifo") {
        return Err(QueueUrlError::NotFifo(given()));
    }
    Ok(url)
}
