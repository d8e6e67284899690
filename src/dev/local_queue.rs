//! `local-queue`: the local SQS-compatible FIFO queue alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::fifo::Broker;
use crate::local::server::{ACCOUNT, Server};
use crate::process::output::print;
use crate::process::{Failure, log, signals};
use crate::wall;

/// The region of the local queue's ARNs.
const REGION: &str = "us-east-1";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9324")]
    listen: SocketAddr,
    /// A queue to create, NAME.fifo; may be given more than once. More can be created by CreateQueue.
    #[arg(long = "queue", value_name = "NAME.fifo")]
    queues: Vec<String>,
    /// Create a dead-letter queue too, and make it the target of the queues' RedrivePolicy.
    #[arg(long, value_name = "NAME.fifo", num_args = 0..=1, default_missing_value = "dead-letters.fifo")]
    dead_letter: Option<String>,
    /// Another host name under which clients know this endpoint; may be given more than once. Loopback names and the
    /// address that it listens on are known; requests to others, and those of web pages, are refused.
    #[arg(long = "allow-host", value_name = "HOST")]
    allowed_hosts: Vec<String>,
}

pub(crate) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(None);
    let server = bind(options.listen, &options.queues, options.dead_letter.as_deref()).await?;
    let server = server.known_as(&options.allowed_hosts).context("the address is unknown")?;
    let address = server.local_addr().context("the address is unknown")?;
    let urls = options.queues.iter().chain(&options.dead_letter).map(|queue| queue_url(address, queue));
    let lines: Vec<String> =
        std::iter::once(format!("local queue at http://{address}")).chain(urls).collect();
    print(&format!("{}\n", lines.join("\n  ")))?;
    server.serve(signals::shutdown()).await.context("the local queue ended")?;
    Ok(ExitCode::SUCCESS)
}

/// Binds a local queue with these queues in it.
pub(crate) async fn bind(
    listen: SocketAddr,
    queues: &[String],
    dead_letter: Option<&str>,
) -> anyhow::Result<Server> {
    let now = wall::since_epoch();
    let seed = u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
    let mut broker = Broker::new(seed, REGION, ACCOUNT);
    let mut create = |name: &str, redrive: Option<String>| {
        create(&mut broker, now, name, redrive).with_context(|| format!("queue {name:?}"))
    };
    if let Some(name) = dead_letter {
        create(name, None)?;
    }
    let policy = dead_letter.map(|name| {
        let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
        serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": 1000}).to_string()
    });
    for name in queues {
        create(name, policy.clone())?;
    }
    Server::bind(listen, broker)
        .await
        .map_err(|error| anyhow!("cannot listen on {listen}: {error} (choose another address with --listen)"))
}

/// The URL that the endpoint at `address` gives a queue.
pub(crate) fn queue_url(address: SocketAddr, name: &str) -> String {
    format!("http://{address}/{ACCOUNT}/{name}")
}

/// The attributes that `docs/operating.md` recommends for a real queue.
fn create(
    broker: &mut Broker,
    now: Duration,
    name: &str,
    redrive: Option<String>,
) -> Result<(), crate::fifo::Error> {
    let mut attributes: BTreeMap<String, String> = [
        ("FifoQueue", "true"),
        ("VisibilityTimeout", "5"),
        ("MessageRetentionPeriod", "1209600"),
        ("DeduplicationScope", "messageGroup"),
        ("FifoThroughputLimit", "perMessageGroupId"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    attributes.extend(redrive.map(|policy| ("RedrivePolicy".to_owned(), policy)));
    broker.create_queue(now, name, &attributes)
}
