//! What the status page says of this worker that does not change.

use crate::admin::status::Facts;
use crate::config::{self, Config};

/// Those of a worker with this configuration.
pub(super) fn of(config: &Config) -> Facts {
    let queue = config.queue.url.rsplit('/').next().unwrap_or_default().to_owned();
    Facts::new(queue, config.queue.region.clone(), replica(), Vec::new())
}

/// The host's name: with containers, the task's or the pod's.
fn replica() -> String {
    let host = config::environment().remove("HOSTNAME").filter(|name| !name.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    host.map_or_else(|| format!("process {}", std::process::id()), |host| host.trim().to_owned())
}
