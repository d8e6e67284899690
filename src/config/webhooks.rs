//! How deliveries go out: `WEBHOOKS_ALLOWED_NETWORKS`, `_PROXY_URL`, `_CA_FILE`, `_MAX_PER_HOST` and
//! `_COALESCE`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::variables::{Reader, Webhooks};
use crate::delivery::http::{Proxy, Settings};
use crate::egress::address_policy::AddressPolicy;
use crate::plan::Limits;
use crate::tls::Authorities;

/// An attempt waits for its turn at a busy destination for this part of its time at most: what is left
/// has to be enough for the request.
const TURN: u32 = 8;

/// Ten messages of 1 MiB, more than which SQS hands over at no time.
const MOST_BYTES: usize = 10_485_760;

pub(super) fn read(raw: &Webhooks, timeout: Duration, reader: &mut Reader) -> Settings {
    let policy = raw.allowed_networks.as_deref().map_or(Ok(AddressPolicy::default()), networks);
    let proxy = raw.proxy_url.as_deref().map(Proxy::parse).transpose();
    let authorities = raw
        .ca_file
        .as_deref()
        .map(|file| Authorities::read(Path::new(file)).map_err(|error| format!("{file:?} {error}")));
    let max_per_host = reader.number("WEBHOOKS_MAX_PER_HOST", raw.max_per_host.as_ref(), 0..=100_000);
    Settings {
        policy: reader.result("WEBHOOKS_ALLOWED_NETWORKS", policy).unwrap_or_default(),
        proxy: reader.result("WEBHOOKS_PROXY_URL", proxy).flatten(),
        authorities: reader.result("WEBHOOKS_CA_FILE", authorities.transpose()).flatten().unwrap_or_default(),
        max_per_host: (max_per_host > 0).then_some(max_per_host),
        turn_timeout: timeout / TURN,
    }
}

/// Whether jobs go out together; the limits are checked either way.
pub(super) fn read_coalesce(raw: &Webhooks, reader: &mut Reader) -> Option<Limits> {
    let coalesce = reader.truth("WEBHOOKS_COALESCE", raw.coalesce.as_ref()).unwrap_or_default();
    let limits = Limits {
        events: reader.number("WEBHOOKS_COALESCE_MAX_EVENTS", raw.coalesce_max_events.as_ref(), 1..=100_000),
        bytes: reader.number("WEBHOOKS_COALESCE_MAX_BYTES", raw.coalesce_max_bytes.as_ref(), 1..=MOST_BYTES),
    };
    coalesce.then_some(limits)
}

/// Why a list of networks cannot be used.
#[derive(Debug, thiserror::Error)]
enum NetworksError {
    #[error("{0:?} is no network such as 10.1.0.0/16 or fd12::/48, and no address")]
    Malformed(String),
    /// One of them can never be allowed.
    #[error("{0}")]
    Refused(String),
}

/// Networks, or single addresses, between commas or blanks.
fn networks(text: &str) -> Result<AddressPolicy, NetworksError> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
    let network = |part: &str| {
        let network = part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| NetworksError::Malformed(part.to_owned()))
    };
    let networks = parts.map(network).collect::<Result<Vec<_>, _>>()?;
    AddressPolicy::new(networks).map_err(NetworksError::Refused)
}
