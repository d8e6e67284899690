//! The forward proxy of `WEBHOOKS_PROXY_URL`.
//!
//! Its rules: every HTTP delivery goes through it, `https` ones by CONNECT, `http` ones by their absolute
//! URL. Its own address is the operator's choice and is not checked. A literal address in a webhook's
//! URL is checked here as ever; a name is not looked up here but passed on, so that what it may lead to
//! is the proxy's to decide, except where the name itself says that it leads inside. No other proxy
//! variable (`HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, …) has any effect.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::header::HeaderValue;
use url::{Host, Url};

use super::request::basic;
use crate::egress::address_policy::AddressPolicy;
use crate::egress::inward_names::{Leads, leads};

/// A forward proxy. Printed without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) credentials: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`.
    ///
    /// # Errors
    /// What is wrong with it, without its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "is not of the form http://[user:password@]host:port";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let (Some(host), true) = (url.host(), url.scheme() == "http" && bare) else {
            return Err(expected.to_owned());
        };
        let credentials = basic(url.username(), url.password());
        Ok(Self { host: host.to_owned(), port: url.port_or_known_default().unwrap_or(80), credentials })
    }

    /// As reqwest takes it.
    pub(super) fn for_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(format!("http://{}:{}", self.host, self.port))?;
        Ok(match &self.credentials {
            Some(credentials) => proxy.custom_http_auth(credentials.clone()),
            None => proxy,
        })
    }

    /// Says whether a host may be passed on, as far as that can be told without looking it up; if not, in
    /// words why.
    pub(super) fn check(policy: &AddressPolicy, host: &Host<String>) -> Result<(), String> {
        let judged = |address| policy.check(address).map_err(|refused| refused.to_string());
        let name = match host {
            Host::Ipv4(address) => return judged(IpAddr::V4(*address)),
            Host::Ipv6(address) => return judged(IpAddr::V6(*address)),
            Host::Domain(name) => name,
        };
        match leads(name) {
            Leads::Anywhere => Ok(()),
            Leads::ToItself => judged(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Leads::ToMetadata => Err(format!(
                "the name {name} leads to a cloud's metadata service; WEBHOOKS_ALLOWED_NETWORKS cannot allow it"
            )),
            Leads::Inside if policy.allows_everything() => Ok(()),
            Leads::Inside => Err(format!(
                "the name {name} leads inside a network, and behind a proxy its address cannot be checked; use a public \
                 name, or add 0.0.0.0/0 to WEBHOOKS_ALLOWED_NETWORKS if webhooks may go anywhere"
            )),
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
