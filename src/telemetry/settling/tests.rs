use std::time::Duration;

use super::*;

#[test]
fn what_is_refused_of_a_batch_counts_as_a_call_that_failed_and_what_is_late_does_not() {
    let (metrics, health) = (Metrics::new(), Health::new(Duration::from_secs(30)));
    health.received();
    let call = SettleCall::ChangeVisibility;
    let told = |entries: Vec<BatchEntryResult>| {
        report_batch(&metrics, &health, call, &Ok(entries));
        health.ready().err().map(|reasons| reasons.join("; "))
    };
    let failures = || {
        let text = metrics.encode(crate::telemetry::metrics::Format::Prometheus);
        let name = "hookferry_settle_failures_total{permission=\"sqs:ChangeMessageVisibility\"} ";
        text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap()
    };
    assert_eq!(told(vec![BatchEntryResult::Ok, BatchEntryResult::ReceiptExpired]), None);
    assert_eq!(failures(), "0");
    let broken = BatchEntryResult::Failed(Error::Call("InternalError: m".into()));
    assert_eq!(told(vec![BatchEntryResult::Ok, broken.clone()]), None);
    assert_eq!(failures(), "1");
    let denied = BatchEntryResult::Failed(Error::Denied("AccessDenied: m (the key's policy)".into()));
    let why = told(vec![BatchEntryResult::Ok, broken, denied]).unwrap();
    assert_eq!(why, "sqs:ChangeMessageVisibility is denied: AccessDenied: m (the key's policy)");
    assert_eq!(failures(), "2");
    assert_eq!(told(vec![BatchEntryResult::Ok]), None);
    assert_eq!(told(vec![BatchEntryResult::Ok, BatchEntryResult::NotMentioned]), None);
    assert_eq!(failures(), "3", "what the answer leaves out");
}
