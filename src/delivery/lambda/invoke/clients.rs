//! One client a region, endpoint and credentials, made once. Those for AWS and the operator's endpoint share
//! one HTTP client, and so its connections; those for endpoints of apps share another, which checks addresses.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_config::{Region, SdkConfig};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::SharedHttpClient;
use aws_sdk_lambda::config::retry::RetryConfig;
use sha2::{Digest, Sha256};
use url::Url;

use super::capped::Cap;
use super::custom_endpoint;
use super::options::Options;
use crate::egress::address_policy::Refused;
use crate::egress::checked::Checked;

/// Clients kept. Most installations have one; where apps bring their own credentials, a new client costs
/// no more than a connection.
pub(super) const MAX_CLIENTS: usize = 64;

/// The clients by a digest of what they are for: credentials are kept in them alone.
pub(super) struct Clients {
    sdk: SdkConfig,
    checked: Checked,
    /// For endpoints of apps.
    custom: SharedHttpClient,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    clients: HashMap<[u8; 32], (Client, u64)>,
    /// Counts the uses, so that the client used longest ago is known.
    uses: u64,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    pub(super) fn new(sdk: SdkConfig, checked: Checked) -> Self {
        Self { sdk, custom: custom_endpoint::http_client(checked.clone()), checked, made: Mutex::default() }
    }

    /// The client for these; none for an address that is refused.
    pub(super) fn of(&self, options: &Options) -> Result<Client, Refused> {
        if let Some(host) = options.endpoint.as_ref().and_then(Url::host) {
            self.checked.check_literal(&host)?;
        }
        Ok(self.kept_or_made(options))
    }

    fn kept_or_made(&self, options: &Options) -> Client {
        let key = digest(options);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.uses += 1;
        let now = made.uses;
        if let Some((client, used)) = made.clients.get_mut(&key) {
            *used = now;
            return client.clone();
        }
        if made.clients.len() >= MAX_CLIENTS {
            let oldest = made.clients.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                made.clients.remove(&oldest);
            }
        }
        let client = self.make(options);
        made.clients.insert(key, (client.clone(), now));
        client
    }

    fn make(&self, options: &Options) -> Client {
        let mut config = aws_sdk_lambda::config::Builder::from(&self.sdk)
            .region(Region::new(options.region.clone()))
            .retry_config(RetryConfig::disabled())
            .interceptor(Cap);
        if let Some(endpoint) = &options.endpoint {
            config = config.endpoint_url(endpoint.as_str()).http_client(self.custom.clone());
        }
        if let Some(credentials) = &options.credentials {
            config = config.credentials_provider(credentials.clone());
        }
        Client::from_conf(config.build())
    }

    #[cfg(test)]
    pub(super) fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    #[cfg(test)]
    pub(super) fn keeps(&self, options: &Options) -> bool {
        self.made.lock().unwrap().clients.contains_key(&digest(options))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.made.lock().unwrap().clients.len()
    }
}

fn digest(options: &Options) -> [u8; 32] {
    let credentials = options.credentials.as_ref();
    let parts = (
        &options.region,
        options.endpoint.as_ref().map(Url::as_str),
        credentials.map(|own| (own.access_key_id(), own.secret_access_key(), own.session_token())),
    );
    // As JSON, so that no two different parts run together into the same text.
    Sha256::digest(serde_json::json!(parts).to_string()).into()
}
