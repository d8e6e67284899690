//! Where deliveries go: receivers and functions of the apps that are known from the environment and a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use url::Url;

use super::handshake::handshake;
use crate::app::{App, Target};
use crate::config::Config;
use crate::egress::resolver::{Resolve, SystemResolver};
#[cfg(feature = "lambda")]
use crate::outcome::Reason;
use crate::run::preflight::{Finding, Severity};
use crate::shown::escaped;

/// Receivers tried at once.
const AT_ONCE: usize = 16;
/// As many receivers, and functions, are tried: a file can have those of thousands of tenants.
const TRIED: usize = 200;

/// Characters shown of where a webhook goes.
const MAX_PLACE: usize = 200;

/// And of an app's id.
const MAX_ID: usize = 64;

fn targets(apps: &[App]) -> impl Iterator<Item = (&App, &Target)> {
    apps.iter().flat_map(|app| app.webhooks.iter().map(move |webhook| (app, &webhook.target)))
}

/// Webhooks listed one by one.
const LISTED: usize = 200;

/// The apps with their webhooks, each by its identity, which dead letters, logs and metrics name, and by where it
/// goes.
pub(super) fn of_apps<'a>(apps: impl IntoIterator<Item = &'a App>) -> Vec<Finding> {
    let about = "apps";
    let (mut findings, mut listed, mut more) = (Vec::new(), 0_usize, 0_usize);
    for app in apps {
        let id = escaped(&app.id, MAX_ID);
        findings.push(Finding::ok(about, format!("{id}: {} webhooks", app.webhooks.len())));
        for webhook in &app.webhooks {
            if listed == LISTED {
                more += 1;
                continue;
            }
            listed += 1;
            findings.push(Finding::ok(
                about,
                format!("{id}: webhook {}: {}", webhook.id, place(&webhook.target)),
            ));
        }
    }
    if more > 0 {
        findings.push(Finding::ok(about, format!("{more} webhooks more are not listed")));
    }
    findings
}

/// Where a webhook goes, without what may be secret: user info and query.
fn place(target: &Target) -> String {
    let text = match target {
        Target::Http(url) => Url::parse(url).map_or_else(
            |_| "a URL that cannot be read".to_owned(),
            |url| {
                let user =
                    if url.username().is_empty() && url.password().is_none() { "" } else { "********@" };
                let query = if url.query().is_some() { "?********" } else { "" };
                let authority = url.authority().rsplit('@').next().unwrap_or_default().to_owned();
                format!("{}://{user}{authority}{}{query}", url.scheme(), url.path())
            },
        ),
        Target::Lambda(lambda) => format!("function {}", lambda.function),
        Target::Missing => "neither url nor lambda_function".to_owned(),
        Target::Unusable { registered, .. } => format!("{} (it cannot be used)", place(registered)),
    };
    escaped(&text, MAX_PLACE)
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
    let functions: Vec<_> = apps
        .iter()
        .flat_map(|app| app.webhooks.iter().map(move |webhook| (app, webhook)))
        .filter_map(|(app, webhook)| match &webhook.target {
            Target::Lambda(lambda) => Some((app, &webhook.id, lambda)),
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
    let lambda = &lambda;
    let rest = functions.len().saturating_sub(TRIED);
    let tried = stream::iter(functions.into_iter().take(TRIED)).map(|(app, id, webhook)| async move {
        let name = format!(
            "{} of webhook {id} of app {}",
            escaped(&webhook.function, MAX_PLACE),
            escaped(&app.id, MAX_ID)
        );
        match lambda.dry_run(webhook).await {
            Ok(_) => Finding::ok(about, format!("{name} may be invoked (DryRun)")),
            Err(why) => {
                Finding::new(Severity::Error, about, format!("{name}: {why}")).remedy(function_remedy(&why))
            }
        }
    });
    let mut findings: Vec<_> = tried.buffered(AT_ONCE).collect().await;
    findings.extend(not_tried(about, rest));
    findings
}

/// What is to be done about a function that cannot be invoked.
#[cfg(feature = "lambda")]
fn function_remedy(why: &Reason) -> &'static str {
    match why {
        Reason::FunctionDenied(_) => {
            "allow lambda:InvokeFunction on it to the credentials that sign for it, which have to be there: the task's role, or \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        Reason::FunctionRefused(_) => "name it in WEBHOOKS_ALLOWED_FUNCTIONS",
        Reason::FunctionMissing(_) => "create it, or correct the webhook's lambda_function and lambda.region",
        Reason::FunctionThrottled(_) => "raise its concurrency, or the account's",
        Reason::FunctionKey(_) => "grant the function's role kms:Decrypt on its key",
        Reason::Refused(_) => "see WEBHOOKS_ALLOWED_NETWORKS, and the webhook's lambda.endpoint",
        Reason::Timeout(_) | Reason::Resolve | Reason::Connect(_) | Reason::Tls(_) | Reason::Broken(_) => {
            "see the webhook's lambda.region, LAMBDA_ENDPOINT, and the way to it: a NAT gateway, or a VPC endpoint for Lambda"
        }
        Reason::FunctionName(_) | Reason::FunctionOptions(_) | Reason::WebhookUnusable(_) => {
            "correct the webhook's lambda_function and lambda"
        }
        _ => "see the worker's credentials and the state of Lambda in that region",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app;

    fn app(webhooks: &str) -> App {
        let (webhooks, _) = app::webhooks(webhooks, "shop").unwrap();
        App::new("shop".to_owned(), "key".to_owned(), "secret".into(), webhooks)
    }

    #[test]
    fn a_webhook_is_listed_by_its_identity_and_its_place_without_what_is_secret() {
        let app = app(
            r#"[{"url":"https://user:hush@hooks.example.com:8443/a/b?token=hush"},{"lambda_function":"deliver"}]"#,
        );
        let lines: Vec<_> = of_apps([&app]).iter().map(Finding::line).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[1].contains(&format!("webhook {}", app.webhooks[0].id)), "{lines:?}");
        assert!(lines[1].ends_with("https://********@hooks.example.com:8443/a/b?********"), "{lines:?}");
        assert!(lines[2].ends_with("function deliver"), "{lines:?}");
        assert!(!lines.join("").contains("hush"));
    }

    #[cfg(feature = "lambda")]
    #[tokio::test]
    async fn a_function_that_cannot_be_asked_is_named_with_its_webhook_and_each_failure_has_its_remedy() {
        let list = r#"[{"id":"shop","key":"k","secret":"s","webhooks":[{"lambda_function":"deliver"}]}]"#;
        let environment = [
            ("QUEUE_SQS_URL", "http://127.0.0.1:1/000000000000/webhooks.fifo"),
            ("QUEUE_SQS_ENDPOINT", "http://127.0.0.1:1"),
            ("LAMBDA_ENDPOINT", "http://127.0.0.1:1"),
            ("WEBHOOKS_ALLOWED_FUNCTIONS", "*"),
            ("APPS", list),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_env(environment).unwrap();
        let [finding] = &functions(&config).await[..] else { panic!("one function") };
        let line = finding.line();
        let known = config.apps.known();
        let id = &known.apps.iter().find(|app| app.id == "shop").unwrap().webhooks[0].id;
        assert!(line.contains(&format!("deliver of webhook {id} of app shop")), "{line}");
        for lost in [Reason::Timeout(config.timeout), Reason::Resolve] {
            assert!(function_remedy(&lost).contains("LAMBDA_ENDPOINT"));
        }
        assert!(function_remedy(&Reason::FunctionDenied(String::new())).contains("lambda:InvokeFunction"));
    }

    #[test]
    fn webhooks_beyond_the_bound_are_counted() {
        let many: Vec<_> = (0..60).map(|n| format!(r#"{{"url":"https://h{n}.example.com/"}}"#)).collect();
        let app = app(&format!("[{}]", many.join(",")));
        let of = app.webhooks.len();
        let findings = of_apps([&app, &app, &app, &app, &app, &app, &app, &app, &app, &app]);
        assert_eq!(findings.len(), 10 + LISTED.min(of * 10) + usize::from(of * 10 > LISTED));
    }
}
