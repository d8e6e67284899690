//! `QUEUE_SQS_*`.

use std::time::Duration;

use url::Url;

use super::client_options::{self, ClientOptions};
use super::variables::{Raw, Reader};

/// Which queue, and how it is used.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// The queue's URL.
    pub url: String,
    /// Its region.
    pub region: String,
    /// Another endpoint than AWS' own.
    pub endpoint: Option<String>,
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
    let url = queue.url.as_deref().map_or_else(
        || Err("is not set; it is the URL of the SQS FIFO queue that soketi sends to".to_owned()),
        queue_url,
    );
    let url = reader.result("QUEUE_SQS_URL", url);
    let dead_letter_url = queue
        .dlq_url
        .as_deref()
        .and_then(|dead| reader.result("QUEUE_SQS_DLQ_URL", queue_url(dead)).map(String::from));
    let endpoint = queue.endpoint.as_deref().and_then(|endpoint| {
        reader.result("QUEUE_SQS_ENDPOINT", http_url(endpoint)).map(|_| endpoint.to_owned())
    });
    let wait = reader.seconds("QUEUE_SQS_WAIT_TIME_SECONDS", queue.wait_time_seconds.as_ref(), 10, 0, 20);
    let mut client = client_options::read(queue.client_options.as_deref(), wait, reader);
    let own_region = url.as_ref().and_then(|url| region_of(url.host_str()?));
    let mut given = |name, region: Option<&String>| reader.result(name, named_region(region?));
    let region = given("QUEUE_SQS_CLIENT_OPTIONS", client.region.as_ref())
        .or_else(|| given("QUEUE_SQS_REGION", queue.region.as_ref()))
        .or_else(|| own_region.clone())
        .or_else(|| given("AWS_REGION", raw.aws.region.as_ref()))
        .unwrap_or_else(|| "us-east-1".to_owned());
    if let Some(own) = own_region.filter(|own| *own != region) {
        reader.warn(format!(
            "QUEUE_SQS_REGION: {region} is not the region of QUEUE_SQS_URL, {own}; requests go to {region}"
        ));
    }
    let elsewhere = raw.aws.endpoint_url.is_some() || raw.aws.endpoint_url_sqs.is_some();
    let given = client.endpoint.clone().or(endpoint);
    let endpoint = reached_at(given, url.as_ref().filter(|_| !elsewhere), client.ssl);
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
    QueueConfig {
        url: url.map(String::from).unwrap_or_default(),
        region,
        endpoint,
        client,
        batch: reader.number("QUEUE_SQS_BATCH_SIZE", queue.batch_size.as_ref(), 10, 1, 10),
        pause: reader.milliseconds(
            "QUEUE_SQS_POLLING_WAIT_TIME_MS",
            queue.polling_wait_time_ms.as_ref(),
            0,
            0,
            60_000,
        ),
        wait,
        visibility: queue.visibility_timeout.as_ref().map(|_| {
            reader.seconds("QUEUE_SQS_VISIBILITY_TIMEOUT", queue.visibility_timeout.as_ref(), 30, 1, 43_200)
        }),
        dead_letter_url,
        max_in_flight: reader.number(
            "QUEUE_SQS_MAX_IN_FLIGHT",
            queue.max_in_flight.as_ref(),
            2000,
            1,
            100_000,
        ),
        max_bytes: reader.number(
            "QUEUE_SQS_MAX_IN_FLIGHT_BYTES",
            queue.max_in_flight_bytes.as_ref(),
            64 << 20,
            1 << 20,
            16 << 30,
        ),
    }
}

/// The endpoint, where it is not for the SDK to find: `given`, or that of the queue's URL if it is not
/// AWS' own. `ssl` is `sslEnabled`: as with the JavaScript SDK it is for an endpoint that has no scheme.
fn reached_at(given: Option<String>, url: Option<&Url>, ssl: bool) -> Option<String> {
    // soketi's SDK talks to the queue URL's own host; this SDK would talk to AWS.
    let foreign = |url: &&Url| url.host_str().is_some_and(|host| region_of(host).is_none() && !is_aws(host));
    let endpoint = given.or_else(|| url.filter(foreign).map(|url| url.origin().ascii_serialization()))?;
    if endpoint.contains("://") {
        return Some(endpoint);
    }
    Some(format!("{}://{endpoint}", if ssl { "https" } else { "http" }))
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    if text.contains(['@', '?', '#']) {
        // Not quoted, here or in any log: a password or a token may stand there.
        return Err("must hold no user name or password, no query and no fragment".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{text:?} is no http or https URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".to_owned());
    }
    Ok(url)
}

#[allow(clippy::case_sensitive_file_extension_comparisons, reason = "SQS' suffix is lower case")]
fn queue_url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    if !url.path().ends_with(".fifo") {
        return Err(format!("{text:?} does not end in .fifo: only a FIFO queue keeps events in order"));
    }
    Ok(url)
}

/// A region becomes part of a host's name.
pub(super) fn named_region(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no AWS region, such as eu-west-1"))
}

/// The region in the host of an SQS endpoint of AWS'.
fn region_of(host: &str) -> Option<String> {
    let host = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let region = host
        .strip_prefix("sqs.")
        .or_else(|| host.strip_prefix("sqs-fips."))
        .or_else(|| host.strip_suffix(".queue"))?;
    (!region.contains('.')).then(|| region.to_owned())
}

/// Whether the host is one that the SDK reaches by itself. A VPC endpoint's own name is none.
fn is_aws(host: &str) -> bool {
    host == "queue.amazonaws.com" || host.ends_with(".api.aws")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_from_awss_own_hosts() {
        for (host, region) in [
            ("sqs.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("sqs-fips.us-west-2.amazonaws.com", Some("us-west-2")),
            ("eu-central-1.queue.amazonaws.com", Some("eu-central-1")),
            ("sqs.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("vpce-1-2.sqs.us-east-1.vpce.amazonaws.com", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }
}
