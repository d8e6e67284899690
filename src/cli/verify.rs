//! `verify`: whether one job, or one received webhook, is valid, and if it is not, why.

mod findings;
mod lines;
mod standard;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::Args;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::enqueue::{Ids, ids_beside};
use crate::app::shown;
use crate::config;
use crate::job::Job;
use crate::process::output::print;
use crate::process::{Failure, configuration, log};
use crate::wall;
use findings::Webhook;
use lines::Findings;
use standard::Standard;

/// The most that is read: the largest message, and then some, so that one too large is told of.
const MAX_INPUT: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to verify; default: standard input. A job is its body, which may have group and dedup beside its members as
    /// for enqueue, or {"group","dedup","body"}; a webhook is its body, byte for byte.
    file: Option<PathBuf>,
    /// It is a received webhook: its X-Pusher-Signature.
    #[arg(long, value_name = "HEX")]
    signature: Option<String>,
    /// The webhook's X-Pusher-Key; default: the app of DEFAULT_APP_KEY.
    #[arg(long)]
    key: Option<String>,
    /// It is a received webhook: its webhook-signature, as by Standard Webhooks.
    #[arg(long, value_name = "V1", requires_all = ["webhook_id", "webhook_timestamp"])]
    webhook_signature: Option<String>,
    /// The webhook's webhook-id.
    #[arg(long)]
    webhook_id: Option<String>,
    /// The webhook's webhook-timestamp.
    #[arg(long)]
    webhook_timestamp: Option<String>,
    /// The environment variable that holds the secret; default: the secrets of DEFAULT_APP_*, APPS and APPS_FILE.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
}

/// What the copies of dead letters have besides.
const BESIDE: [&str; 3] = ["id", "attributes", "queue"];

/// A job with its ids, as `enqueue --print` writes it.
#[derive(Deserialize)]
struct Line {
    body: String,
    group: Option<String>,
    dedup: Option<String>,
    #[serde(flatten)]
    #[allow(clippy::zero_sized_map_values, reason = "only a map can be flattened")]
    others: BTreeMap<String, IgnoredAny>,
}

/// What `enqueue` makes a job of.
#[derive(Deserialize)]
#[allow(dead_code, reason = "it is told by what it has")]
#[serde(deny_unknown_fields)]
struct EventLine {
    #[allow(clippy::zero_sized_map_values, reason = "of any members")]
    event: BTreeMap<String, IgnoredAny>,
    group: Option<String>,
    dedup: Option<String>,
}

pub(super) fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("warn"));
    let input = read(options.file.as_ref())?;
    let secrets = secrets(options.secret_env.as_deref())?;
    let findings = if options.signature.is_some() || options.webhook_signature.is_some() {
        let standard = match (options.webhook_signature, options.webhook_id, options.webhook_timestamp) {
            (Some(signature), Some(id), Some(timestamp)) => Some(Standard { id, timestamp, signature }),
            (Some(_) | None, ..) => None,
        };
        let key = options.key.unwrap_or_else(|| secrets.default_key.clone());
        let known = secrets.of(&key)?;
        findings::webhook(
            &Webhook { body: input, signature: options.signature, standard, key },
            &known,
            wall::now(),
        )
    } else {
        job(&input, &secrets)?
    };
    print(&format!("{findings}\n"))?;
    Ok(if findings.valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn job(input: &Bytes, secrets: &Secrets) -> anyhow::Result<Findings> {
    let (body, (group, dedup)) = match serde_json::from_slice::<Line>(input) {
        Ok(line) => {
            if let Some(other) = line.others.keys().find(|name| !BESIDE.contains(&name.as_str())) {
                return Ok(Findings::wrong(format!(
                    "the line's member {} is unknown, and enqueue refuses it (there are body, group and dedup)",
                    shown(other)
                )));
            }
            (Bytes::from(line.body), (line.group, line.dedup))
        }
        Err(_) => match alone(input) {
            Ok(parts) => parts,
            Err(error) => return Ok(Findings::wrong(format!("{error}; enqueue refuses the line"))),
        },
    };
    let decoded = match Job::decode(&body) {
        Ok(decoded) => decoded,
        Err(_) if serde_json::from_slice::<EventLine>(&body).is_ok() => {
            return Ok(Findings::wrong(
                "it is a line for enqueue, which makes a job of its event: hookferry enqueue --print < FILE | hookferry verify"
                    .to_owned(),
            ));
        }
        Err(error) => return Ok(Findings::wrong(error.to_string())),
    };
    let known = secrets.of(&decoded.app_key)?;
    Ok(findings::job(&body, &decoded, group.as_deref(), dedup.as_deref(), &known))
}

/// A job's body, and the ids that stand beside its members.
fn alone(input: &Bytes) -> anyhow::Result<(Bytes, Ids)> {
    let line = std::str::from_utf8(input).ok().filter(|_| Job::decode(input).is_ok());
    if let Some((body, ids)) = line.map(ids_beside).transpose()?.flatten() {
        return Ok((body.into(), ids));
    }
    // A line break at the end is the file's, not the message's.
    Ok((input.slice_ref(input.trim_ascii_end()), (None, None)))
}

fn read(file: Option<&PathBuf>) -> anyhow::Result<Bytes> {
    let mut input = Vec::new();
    match file {
        Some(path) => {
            let file = std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
            file.take(MAX_INPUT).read_to_end(&mut input).with_context(|| format!("{}", path.display()))?;
        }
        None => {
            std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut input).context("standard input")?;
        }
    }
    Ok(input.into())
}

fn secrets(variable: Option<&str>) -> Result<Secrets, Failure> {
    if let Some(name) = variable {
        let given = config::environment().remove(name).filter(|secret| !secret.is_empty());
        let given = given.with_context(|| format!("--secret-env: the variable {name} is not set"))?;
        return Ok(Secrets { given: Some(given.into()), ..Secrets::default() });
    }
    // No queue is asked for anything.
    let nowhere = "https://sqs.us-east-1.amazonaws.com/000000000000/none.fifo".to_owned();
    let apps = configuration(&[("QUEUE_SQS_URL", Some(nowhere))])?.apps;
    let default_key = apps.default.key.clone();
    let known = apps.known();
    let apps = known.apps.into_iter();
    let apps = apps.map(|app| (app.key.clone(), app.secrets().cloned().collect())).collect();
    let unusable = known.unusable.into_iter();
    let unusable = unusable.filter_map(|app| Some((app.key.clone()?, app.to_string()))).collect();
    Ok(Secrets { given: None, default_key, apps, unusable })
}

/// The secrets that are known, by key.
#[derive(Default)]
struct Secrets {
    given: Option<SecretString>,
    default_key: String,
    /// Each app's, the newest first.
    apps: Vec<(String, Vec<SecretString>)>,
    /// Apps that cannot be used, and why.
    unusable: Vec<(String, String)>,
}

impl Secrets {
    fn of(&self, key: &str) -> anyhow::Result<Vec<SecretString>> {
        if let Some(given) = &self.given {
            return Ok(vec![given.clone()]);
        }
        let found = self.apps.iter().find(|(known, _)| known == key).map(|(_, secrets)| secrets.clone());
        found.ok_or_else(|| {
            if let Some((_, why)) = self.unusable.iter().find(|(unusable, _)| unusable == key) {
                return anyhow!("{why}");
            }
            anyhow!(
                "no secret is known for the app key {}: name the variable that holds it with --secret-env, or set DEFAULT_APP_KEY and DEFAULT_APP_SECRET, or APPS_FILE",
                shown(key)
            )
        })
    }
}
