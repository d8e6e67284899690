//! `--print`: jobs as they would be sent.

use std::collections::BTreeMap;
use std::pin::pin;
use std::process::ExitCode;

use futures_util::{Stream, StreamExt};

use super::NumberedJob;
use crate::process::output::Lines;
use crate::producer;

/// Prints the jobs that SQS would take, while somebody reads.
pub(super) async fn print(jobs: impl Stream<Item = anyhow::Result<NumberedJob>>) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut jobs = pin!(jobs);
    let mut out = Lines::default();
    while let Some(job) = jobs.next().await {
        let (number, job) = job?;
        if let Err(error) = producer::size(&job) {
            code = ExitCode::FAILURE;
            eprintln!("line {number}: {error}");
            continue;
        }
        let mut line = serde_json::json!({"group": job.group, "dedup": job.deduplication, "body": job.body});
        let attributes: BTreeMap<_, _> = job.attributes().into_iter().collect();
        if let Some(line) = line.as_object_mut().filter(|_| !attributes.is_empty()) {
            line.insert("attributes".to_owned(), serde_json::json!(attributes));
        }
        if !out.print(&line)? {
            break;
        }
    }
    Ok(code)
}
