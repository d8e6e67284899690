//! The HTTP client for endpoints of apps: names lead to addresses that were checked, as those of HTTP
//! deliveries do, and literal addresses are checked before the client is asked for.

use std::error::Error;

use aws_sdk_lambda::config::SharedHttpClient;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};

use crate::egress::address_policy::Refused;
use crate::egress::checked::{Checked, NoAddress};
use crate::error_chain::causes;

/// Idle connections kept to one endpoint. Nothing bounds those to all endpoints together, and an app may name one for each of
/// its webhooks: with any kept, thousands would hold descriptors that everyone else lacks.
const MAX_IDLE_PER_HOST: usize = 0;

/// A client that dials names at no other addresses than those of `checked`.
pub(super) fn http_client(checked: Checked) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_with_resolver(Names(checked))
}

/// The refusal that a failure comes from, if it comes from one.
pub(super) fn refusal<'a>(failure: &'a (dyn Error + 'static)) -> Option<&'a Refused> {
    causes(failure).find_map(|cause| match cause.downcast_ref() {
        Some(NoAddress::Refused(refused)) => Some(refused),
        _ => None,
    })
}

#[derive(Clone, Debug)]
struct Names(Checked);

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move { self.0.addresses(name).await.map_err(ResolveDnsError::new) })
    }
}
