//! What a webhook gets of several payloads at once, held against the oracle.

use hookferry::app::{App, WebhookId};
use hookferry::job::Job;
use hookferry::plan::{Coalescer, Delivery, ID_HEADER, Limits, Plan, select};
use proptest::prelude::*;
use serde::de::IgnoredAny;

use crate::filtering::{SECRET, app, job, payload, signature, webhooks};
use crate::oracle;
use crate::signature::hmac;

const AMPLE: Limits = Limits { events: 1000, bytes: 1 << 20 };

/// A job's half of its ids, its payload and what it comes to.
type Planned<'a> = (String, &'a str, Job, Plan);

/// Those of the jobs that are taken, and what goes out for them.
fn merge<'a>(jobs: &'a [Planned<'a>], app: &App, limits: Limits) -> (Vec<&'a Planned<'a>>, Vec<Delivery>) {
    let mut merge = Coalescer::new(app, limits);
    let taken = jobs.iter().filter(|(id, _, job, plan)| merge.add(id, job, &plan.pieces, &plan.selected));
    let taken: Vec<_> = taken.collect();
    assert_eq!(merge.jobs(), taken.len());
    (taken, merge.finish())
}

fn indexes(deliveries: &[Delivery]) -> Vec<WebhookId> {
    deliveries.iter().map(|delivery| delivery.webhook.clone()).collect()
}

/// Holds one merged delivery against the payloads that it was made of.
fn check(delivery: &Delivery, taken: &[&Planned<'_>], app: &App) -> Result<(), TestCaseError> {
    let body = std::str::from_utf8(&delivery.body).unwrap();
    prop_assert!(serde_json::from_str::<IgnoredAny>(body).is_ok(), "{body}");
    let webhook = app.webhooks.iter().find(|webhook| webhook.id == delivery.webhook).unwrap();
    let payloads: Vec<_> = taken.iter().map(|(_, payload, ..)| oracle::read(payload).unwrap()).collect();
    let time = payloads[0].time_ms.map(|time| format!("\"time_ms\":{time},")).unwrap_or_default();
    prop_assert!(body.starts_with(&format!("{{{time}\"events\":[")) && body.ends_with("]}"), "{body}");
    let expected: Vec<&str> = payloads.iter().flat_map(|payload| payload.kept(webhook)).collect();
    prop_assert_eq!(oracle::read(body).unwrap().events, expected, "{}", body);
    prop_assert_eq!(signature(delivery), &hmac(SECRET.as_bytes(), &delivery.body));
    let ids: Vec<_> = taken.iter().map(|(id, ..)| format!("{id}.{}", delivery.webhook)).collect();
    let id = &delivery.headers.iter().find(|(name, _)| name == ID_HEADER).unwrap().1;
    prop_assert_eq!(id, &ids.join(","));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_merged_body_is_the_jobs_events_one_after_another_byte_for_byte(
        payloads in prop::collection::vec(payload(), 2..12), webhooks in webhooks(),
        events in 1_usize..12, bytes in 1_usize..600,
    ) {
        let app = app(&webhooks);
        let planned = payloads.iter().enumerate().filter_map(|(n, payload)| {
            let id = format!("m{n}");
            let job = job(payload);
            let plan = select(&job, &app).ok()?;
            Some((id, payload.as_str(), job, plan))
        });
        let planned: Vec<Planned<'_>> = planned.collect();

        let (taken, merged) = merge(&planned, &app, AMPLE);
        let wants = |(.., plan): &Planned<'_>| -> Vec<WebhookId> {
            plan.selected.iter().map(|selection| app.webhooks[selection.index].id.clone()).collect()
        };
        let first = planned.iter().map(wants).find(|all| !all.is_empty());
        let same = planned.iter().filter(|job| Some(wants(job)) == first);
        prop_assert_eq!(taken.iter().map(|job| &job.0).collect::<Vec<_>>(), same.map(|job| &job.0).collect::<Vec<_>>());
        prop_assert_eq!(indexes(&merged), first.unwrap_or_default());
        for delivery in &merged {
            check(delivery, &taken, &app)?;
        }

        let (taken, merged) = merge(&planned, &app, Limits { events, bytes });
        for delivery in &merged {
            check(delivery, &taken, &app)?;
            let body = std::str::from_utf8(&delivery.body).unwrap();
            let count = oracle::read(body).unwrap().events.len();
            prop_assert!(taken.len() == 1 || (count <= events && body.len() <= bytes), "{count} in {body}");
        }
    }
}
