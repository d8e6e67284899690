use super::*;

fn lines(text: &str, start: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn every_series_whose_labels_are_known_exists_at_0() {
    let text = Metrics::new().encode(Format::Prometheus);
    for family in ["failed_attempts", "retries", "dead_letters"] {
        let series = lines(&text, &format!("hookferry_{family}_total{{"));
        assert_eq!(series.len(), Reason::CODES.len(), "{series:?}");
        assert!(series.iter().all(|line| line.ends_with(" 0")), "{series:?}");
    }
    for line in [
        "hookferry_settle_failures_total{permission=\"sqs:ChangeMessageVisibility\"} 0",
        "hookferry_settle_failures_total{permission=\"sqs:DeleteMessage\"} 0",
        "hookferry_settle_failures_total{permission=\"sqs:SendMessage\"} 0",
        "hookferry_receive_errors_total{kind=\"denied\"} 0",
        "hookferry_app_look_ups_total{result=\"stale\"} 0",
        "hookferry_queue_messages{state=\"visible\"} 0",
        "hookferry_destinations{state=\"down\"} 0",
        "hookferry_destination_failures_total{app=\"other\",webhook=\"other\",destination=\"other\"} 0",
        "hookferry_unmatched_jobs_total 0",
        "hookferry_deferred_jobs_total 0",
        "hookferry_last_receive_timestamp_seconds 0",
        "hookferry_blocked_groups 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    let build = format!("hookferry_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&build), "{text}");
    assert_eq!(lines(&text, "process_start_time_seconds ").len(), 1);
    assert_eq!(lines(&text, "process_cpu_seconds_total ").len(), 1, "{text}");
}

#[tokio::test(start_paused = true)]
async fn ages_reach_to_14_days() {
    let metrics = Metrics::new();
    metrics.age_at_delivery.observe(1_209_599.0);
    let text = metrics.encode(Format::Prometheus);
    let buckets = lines(&text, "hookferry_age_at_delivery_seconds_bucket");
    let count = |bound: f64| {
        let of_bound = |line: &&String| {
            let le = line.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
            le.and_then(|le| le.parse().ok()) == Some(bound)
        };
        let line = buckets.iter().find(of_bound).unwrap_or_else(|| panic!("{bound}: {text}"));
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!((count(604_800.0), count(1_209_600.0)), ("0".to_owned(), "1".to_owned()));
}

#[test]
fn accept_decides_between_the_two_formats() {
    for (accept, format) in [
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Prometheus),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
        ("application/openmetrics-text", Format::OpenMetrics),
        ("Application/OpenMetrics-Text; version=1.0.0", Format::OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", Format::Prometheus),
        ("application/openmetrics-text;q=0", Format::Prometheus),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_formats_differ_as_their_specifications_do() {
    let metrics = Metrics::new();
    let open = metrics.encode(Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("# TYPE hookferry_deliveries counter\n"));
    let prometheus = metrics.encode(Format::Prometheus);
    assert!(!prometheus.contains("# EOF") && !prometheus.contains("# UNIT"));
    assert!(prometheus.contains("# TYPE hookferry_deliveries_total counter\n"), "{prometheus}");
}

#[tokio::test(start_paused = true)]
async fn no_family_is_described_twice_and_no_series_comes_twice() {
    let metrics = Metrics::new();
    metrics.board.known([("shop", "0123456789ab", "hooks.shop.example".to_owned())]);
    for app_id in ["shop", "chat"] {
        metrics.deferred(app_id, 1);
        metrics.board.unmatched(app_id);
    }
    metrics.attempted(&Outcome::Delivered, Duration::from_millis(3));
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = metrics.encode(format);
        let mut seen = std::collections::BTreeSet::new();
        for line in text.lines() {
            // `# TYPE name` or `# HELP name`; of a sample, all but its value.
            let what = match line.strip_prefix("# ") {
                Some(described) => described.split(' ').take(2).collect::<Vec<_>>().join(" "),
                None => line.rsplit_once(' ').unwrap().0.to_owned(),
            };
            assert!(seen.insert(what), "{line} comes twice in\n{text}");
        }
    }
}
