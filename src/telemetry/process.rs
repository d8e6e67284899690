//! `process_*`: what Prometheus' own clients tell of a process, read from Linux' `/proc` at each scrape.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::descriptors;
use crate::wall;

/// Linux counts a process's CPU time in hundredths of a second on every architecture.
const TICKS: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    started: f64,
}

/// What `/proc` says.
#[derive(Debug, Default)]
struct Readings {
    cpu: Option<f64>,
    resident: Option<u64>,
    size: Option<u64>,
    threads: Option<u64>,
    open: Option<u64>,
    most: Option<u64>,
}

impl Process {
    /// One that starts now.
    pub(super) fn new() -> Self {
        let now = wall::since_epoch();
        Self { started: now.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let read = Readings::take();
        let name = "process_start_time_seconds";
        let family =
            encoder.encode_descriptor(name, "Unix time of the process's start", None, MetricType::Gauge)?;
        ConstGauge::new(self.started).encode(family)?;
        if let Some(cpu) = read.cpu {
            let (name, help) = ("process_cpu_seconds", "CPU time used");
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(cpu).encode(family)?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use", read.resident),
            ("process_virtual_memory_bytes", "Address space in use", read.size),
            ("process_threads", "Threads", read.threads),
            ("process_open_fds", "File descriptors open", read.open),
            ("process_max_fds", "File descriptors allowed", read.most),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(family)?;
        }
        Ok(())
    }
}

impl Readings {
    /// What cannot be read, as on other systems, is left out.
    fn take() -> Self {
        let text = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        let status = text("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        Self {
            cpu: cpu(&text("stat")),
            resident: field("VmRSS:").map(|kb| kb * 1024),
            size: field("VmSize:").map(|kb| kb * 1024),
            threads: field("Threads:"),
            // The one that reads the list is on it.
            open: open.map(|count| count.saturating_sub(1) as u64),
            most: Some(descriptors::limit()).filter(|limit| *limit < u64::MAX),
        }
    }
}

/// User and system time: the 14th and 15th field. The second one, the command's name, may hold spaces.
fn cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_spaces() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn everything_is_read_on_linux() {
        let read = Readings::take();
        assert!(read.cpu.is_some() && read.threads > Some(0) && read.open > Some(2), "{read:?}");
        assert!(
            read.resident > Some(1 << 20) && read.size > read.resident && read.most > Some(10),
            "{read:?}"
        );
    }
}
