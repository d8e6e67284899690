use std::time::Duration;

use tokio::time::advance;

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

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_failing_makes_it_unready_until_anything_is_done_by_it_and_a_lost_one_does_not() {
    let (metrics, health) = (Metrics::new(), Health::new(Duration::from_secs(30)));
    health.received();
    let call = SettleCall::Delete;
    let told = |answer: Result<Vec<BatchEntryResult>, Error>| {
        report_batch(&metrics, &health, call, &answer);
        health.ready().err().map(|reasons| reasons.join("; "))
    };
    let lost = || Err(Error::Call("status 502".into()));
    for _ in 0..2 {
        assert_eq!(told(lost()), None);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(health.ready(), Ok(()), "two, an hour apart");
    }
    assert_eq!(told(Ok(vec![BatchEntryResult::Ok])), None);
    for seconds in 0..30 {
        assert_eq!(told(lost()), None, "after {seconds} s");
        advance(Duration::from_secs(1)).await;
    }
    let broken = BatchEntryResult::Failed(Error::Call("InternalError: m".into()));
    assert_eq!(told(Ok(vec![broken.clone()])).as_deref(), Some("sqs:DeleteMessage fails: InternalError: m"));
    assert_eq!(told(Ok(vec![broken, BatchEntryResult::Ok])), None);
}
