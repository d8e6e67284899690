//! `QUEUE_SQS_CLIENT_OPTIONS`: the JavaScript SDK's options, as soketi passes them.
//!
//! soketi spreads them over its own settings, so a region or endpoint in them wins over
//! `QUEUE_SQS_REGION` and `QUEUE_SQS_ENDPOINT`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::variables::Reader;
use crate::aws::can_be_sent;
use crate::aws::endpoint::{has_scheme, http_url};
use crate::json::whole_number;
use crate::queue::sqs::{AccessKey, Options, Proxy};

const NAME: &str = "QUEUE_SQS_CLIENT_OPTIONS";

/// More retries than this would outlast every lease.
const MOST_RETRIES: u64 = 100;

/// What of the options has an equivalent here.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `region`.
    pub region: Option<String>,
    /// `endpoint`, without a scheme if it was given none.
    pub endpoint: Option<String>,
    /// `sslEnabled`; true where it is not set.
    pub ssl: bool,
    /// All others.
    pub sdk: Options,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { region: None, endpoint: None, ssl: true, sdk: Options::default() }
    }
}

pub(super) fn read(text: Option<&str>, wait: Duration, reader: &mut Reader) -> ClientOptions {
    let Some(text) = text else { return ClientOptions::default() };
    let Ok(all) = serde_json::from_str::<Map<String, Value>>(text) else {
        reader.error(format!("{NAME}: is not a JSON object of the JavaScript SDK's options"));
        return ClientOptions::default();
    };
    let mut taken = Taken { names: Vec::new(), reader };
    let mut all = Object { path: String::new(), members: all };
    let mut http = taken.object(&mut all, "httpOptions");
    let mut delay = taken.object(&mut all, "retryDelayOptions");
    let credentials = taken.credentials(&mut all);
    let endpoint = taken.text(&mut all, "endpoint");
    let options = ClientOptions {
        region: taken.text(&mut all, "region"),
        endpoint: endpoint.and_then(|endpoint| taken.endpoint(endpoint)),
        ssl: taken.truth(&mut all, "sslEnabled").unwrap_or(true),
        sdk: Options {
            credentials,
            retries: taken
                .number(&mut all, "maxRetries")
                .map(|n| u32::try_from(n.min(MOST_RETRIES)).unwrap_or_default()),
            retry_base: taken.milliseconds(&mut delay, "base"),
            timeout: taken.milliseconds(&mut http, "timeout").filter(|timeout| !timeout.is_zero()),
            connect_timeout: taken.milliseconds(&mut http, "connectTimeout").filter(|t| !t.is_zero()),
            proxy: taken.text(&mut http, "proxy").and_then(|proxy| taken.proxy(&proxy)),
            dual_stack: taken.truth(&mut all, "useDualstackEndpoint").unwrap_or_default(),
            fips: taken.truth(&mut all, "useFipsEndpoint").unwrap_or_default(),
            user_agent: taken.text(&mut all, "customUserAgent").and_then(|agent| taken.user_agent(agent)),
        },
    };
    // There has been one version since 2012.
    all.members.remove("apiVersion");
    for object in [all, http, delay] {
        taken.rest(&object);
    }
    let Taken { names, reader } = taken;
    if !names.is_empty() {
        reader.warn(format!("{NAME}: without an equivalent here and ignored: {}", names.join(", ")));
    }
    if options.sdk.timeout.is_some_and(|timeout| timeout <= wait) {
        reader.warn(format!(
            "{NAME}: httpOptions.timeout is not longer than QUEUE_SQS_WAIT_TIME_SECONDS; receives may take that and 2 s more all the same"
        ));
    }
    options
}

/// An object of options, and where it lies.
struct Object {
    path: String,
    members: Map<String, Value>,
}

/// Takes options out of objects and remembers what is left.
struct Taken<'a> {
    names: Vec<String>,
    reader: &'a mut Reader,
}

impl Taken<'_> {
    fn wrong(&mut self, object: &Object, name: &str, expected: &str) {
        self.reader.error(format!("{NAME}: {}{name} is not {expected}", object.path));
    }

    fn object(&mut self, from: &mut Object, name: &str) -> Object {
        let members = match from.members.remove(name) {
            Some(Value::Object(members)) => members,
            None | Some(Value::Null) => Map::new(),
            Some(_) => {
                self.wrong(from, name, "an object");
                Map::new()
            }
        };
        Object { path: format!("{}{name}.", from.path), members }
    }

    fn text(&mut self, from: &mut Object, name: &str) -> Option<String> {
        match from.members.remove(name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::String(_) | Value::Null => None,
            _ => {
                self.wrong(from, name, "a string");
                None
            }
        }
    }

    fn truth(&mut self, from: &mut Object, name: &str) -> Option<bool> {
        match from.members.remove(name)? {
            Value::Bool(truth) => Some(truth),
            Value::Null => None,
            _ => {
                self.wrong(from, name, "true or false");
                None
            }
        }
    }

    fn number(&mut self, from: &mut Object, name: &str) -> Option<u64> {
        let value = from.members.remove(name)?;
        let number = whole_number(&value);
        if number.is_none() && !value.is_null() {
            self.wrong(from, name, "a whole number");
        }
        number
    }

    fn milliseconds(&mut self, from: &mut Object, name: &str) -> Option<Duration> {
        self.number(from, name).map(Duration::from_millis)
    }

    /// Out of `credentials`, or side by side with everything else.
    fn credentials(&mut self, all: &mut Object) -> Option<AccessKey> {
        let mut nested = self.object(all, "credentials");
        let mut part = |name| self.text(&mut nested, name).or_else(|| self.text(all, name));
        let parts = (part("accessKeyId"), part("secretAccessKey"), part("sessionToken"));
        self.rest(&nested);
        match parts {
            (Some(id), Some(secret), token) => {
                self.checked("accessKeyId", &id);
                self.checked("secretAccessKey", &secret);
                self.checked("sessionToken", token.as_deref().unwrap_or_default());
                Some(AccessKey { id, secret: secret.into(), session_token: token.map(Into::into) })
            }
            (None, None, _) => None,
            (Some(_), None, _) | (None, Some(_), _) => {
                self.reader.error(format!("{NAME}: accessKeyId and secretAccessKey go together"));
                None
            }
        }
    }

    /// Says whether a part of credentials cannot stand in a header. It is not quoted.
    fn checked(&mut self, name: &str, text: &str) {
        if !can_be_sent(text) {
            self.reader
                .error(format!("{NAME}: {name} holds a blank, a control character or one beyond ASCII"));
        }
    }

    fn endpoint(&mut self, endpoint: String) -> Option<String> {
        let whole = if has_scheme(&endpoint) { endpoint.clone() } else { format!("https://{endpoint}") };
        let checked = http_url(&whole).map_err(|error| format!("endpoint {error}"));
        self.reader.result(NAME, checked).map(|_| endpoint)
    }

    fn proxy(&mut self, proxy: &str) -> Option<Proxy> {
        let whole = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
        let read = Proxy::new(&whole);
        if read.is_none() {
            self.reader.error(format!(
                "{NAME}: httpOptions.proxy is not of the form http://[user:password@]host:port"
            ));
        }
        read
    }

    fn user_agent(&mut self, agent: String) -> Option<String> {
        if agent.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Some(agent);
        }
        self.reader.error(format!("{NAME}: customUserAgent holds more than printable ASCII"));
        None
    }

    /// What nobody took. Names alone: the values may be secrets.
    fn rest(&mut self, object: &Object) {
        // Escaped: a warning is one line.
        self.names
            .extend(object.members.keys().map(|name| format!("{}{}", object.path, name.escape_debug())));
    }
}
