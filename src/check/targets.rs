//! Where deliveries go: receivers and functions of the apps that are known from the environment and a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use url::Url;

use super::handshake::handshake;
use crate::app::{App, Target};
use crate::config::Config;
use crate::egress::resolver::{Resolve, SystemResolver};
use crate::run::preflight::{Finding, Severity};

/// Receivers tried at once.
const AT_ONCE: usize = 16;
/// As many receivers, and functions, are tried: a file can have those of thousands of tenants.
const TRIED: usize = 200;

fn targets(apps: &[App]) -> impl Iterator<Item = (&App, &Target)> {
    apps.iter().flat_map(|app| app.webhooks.iter().map(move |webhook| (app, &webhook.target)))
}

/// Scheme, host and port: what a TLS handshake is about, and nothing secret.
fn origin(url: &str) -> String {
    Url::parse(url)
        .map_or_else(|_| "a URL that cannot be read".to_owned(), |url| url.origin().ascii_serialization())
}

fn not_tried(about: &'static str, rest: usize) -> Option<Finding> {
    (rest > 0).then(|| Finding::ok(about, format!("{rest} more are not tried: {TRIED} is the most")))
}

pub(super) async fn webhooks(config: &Config) -> Vec<Finding> {
    let about = "webhook";
    let mut receivers: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    let apps = config.apps.known().apps;
    for (app, target) in targets(&apps) {
        match target {
            Target::Http(url) => {
                receivers.entry(origin(url)).or_insert((url, &app.id));
            }
            // Those that cannot be used are told of among the apps.
            Target::Lambda(_) | Target::Missing | Target::Unusable { .. } => {}
        }
    }
    let resolver: Arc<dyn Resolve> = match SystemResolver::new() {
        Ok(resolver) => Arc::new(resolver),
        Err(error) => return vec![Finding::new(Severity::Error, about, error.to_string())],
    };
    let rest = receivers.len().saturating_sub(TRIED);
    let tried = stream::iter(receivers.into_iter().take(TRIED)).map(|(origin, (url, app))| {
        let resolver = Arc::clone(&resolver);
        async move {
            match handshake(&config.http, resolver, url, config.timeout).await {
                Ok(words) => Finding::ok(about, format!("{origin}: {words}")),
                Err(why) => Finding::new(
                    Severity::Error,
                    about,
                    format!("{origin} of app {}: {why}", app.escape_debug()),
                )
                .remedy("see the webhook's url, and WEBHOOKS_ALLOWED_NETWORKS and WEBHOOKS_CA_FILE"),
            }
        }
    });
    let mut findings: Vec<_> = tried.buffered(AT_ONCE).collect().await;
    findings.extend(not_tried(about, rest));
    if findings.is_empty() {
        findings.push(Finding::ok(about, "none is known before a job comes"));
    }
    findings
}

#[cfg(feature = "lambda")]
pub(super) async fn functions(config: &Config) -> Vec<Finding> {
    use crate::delivery::lambda::Lambda;

    let about = "function";
    let apps = config.apps.known().apps;
    let functions: Vec<_> = targets(&apps)
        .filter_map(|(app, target)| match target {
            Target::Lambda(webhook) => Some((app, webhook)),
            Target::Http(_) | Target::Missing | Target::Unusable { .. } => None,
        })
        .collect();
    if functions.is_empty() {
        return Vec::new();
    }
    let resolver: Arc<dyn Resolve> = match SystemResolver::new() {
        Ok(resolver) => Arc::new(resolver),
        Err(error) => return vec![Finding::new(Severity::Error, about, error.to_string())],
    };
    let settings = config.lambda.clone();
    let lambda = Lambda::load(
        settings.endpoint,
        settings.allowed,
        settings.regions,
        config.http.policy.clone(),
        resolver,
        config.timeout,
    )
    .await;
    let mut findings = Vec::new();
    let rest = functions.len().saturating_sub(TRIED);
    for (app, webhook) in functions.into_iter().take(TRIED) {
        findings.push(match lambda.dry_run(webhook).await {
            Ok(reference) => Finding::ok(about, format!("{} may be invoked (DryRun)", reference.escape_debug())),
            Err(why) => Finding::new(Severity::Error, about, format!("of app {}: {why}", app.id.escape_debug()))
                .remedy("allow lambda:InvokeFunction on it to the worker's role, and name it in WEBHOOKS_ALLOWED_FUNCTIONS"),
        });
    }
    findings.extend(not_tried(about, rest));
    findings
}
