//! The deliveries of consecutive jobs, merged into one for each webhook.
//!
//! Pure, as all of planning. A merged body is the events' own bytes in the order of the jobs, under the
//! first job's `time_ms`, signed anew.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{Delivery, FRAME, Payload, TIME, bytes, headers, part};
use crate::app::{App, Target, Webhook};
use crate::job::sign;

/// The most that one merged delivery holds. A job beyond them goes alone, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes of the body.
    pub bytes: usize,
}

/// Consecutive jobs of one app that may go out together.
#[derive(Debug)]
pub struct Coalescer<'a> {
    app: &'a App,
    limits: Limits,
    /// Each job's half of `X-Hookferry-Id`.
    ids: Vec<&'a str>,
    bodies: Vec<Body<'a>>,
}

/// What one webhook gets, in pieces.
#[derive(Debug)]
struct Body<'a> {
    webhook: &'a Webhook,
    time_ms: Option<Bytes>,
    /// Each job's events, without the brackets around them.
    events: Vec<Bytes>,
    count: usize,
    length: usize,
}

impl<'a> Coalescer<'a> {
    /// Nothing yet, of this app.
    #[must_use]
    pub fn new(app: &'a App, limits: Limits) -> Self {
        Self { app, limits, ids: Vec::new(), bodies: Vec::new() }
    }

    /// Adds the next job's deliveries, all that it has left to deliver; `id` is that of
    /// [`plan`](super::plan).
    ///
    /// `false`, and nothing is added, if they cannot go out with those before them: there are none, one
    /// is no HTTP request, they are for other webhooks, or a limit would be exceeded.
    pub fn add(&mut self, id: &'a str, deliveries: &[Delivery]) -> bool {
        let http = deliveries.iter().all(|delivery| matches!(delivery.target, Target::Http(_)));
        let webhooks = deliveries.iter().map(|delivery| &delivery.webhook);
        let first = self.ids.is_empty();
        let same = first || self.bodies.iter().map(|body| &body.webhook.id).eq(webhooks);
        if deliveries.is_empty() || !http || !same {
            return false;
        }
        let next = deliveries.iter().map(|delivery| Body::of(delivery, self.app));
        let Some(next) = next.collect::<Option<Vec<_>>>() else { return false };
        if first {
            self.bodies = next;
        } else if self.bodies.iter().zip(&next).all(|(body, next)| body.has_room(next, self.limits)) {
            self.bodies.iter_mut().zip(next).for_each(|(body, next)| body.append(next));
        } else {
            return false;
        }
        self.ids.push(id);
        true
    }

    /// How many jobs were added.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.ids.len()
    }

    /// One delivery for each webhook. `X-Hookferry-Id` lists what each job's own would be: whoever drops
    /// repeats by it never drops an event along with those that it has seen.
    #[must_use]
    pub fn finish(self) -> Vec<Delivery> {
        let Self { app, ids, bodies, .. } = self;
        bodies
            .into_iter()
            .map(|body| {
                let id =
                    ids.iter().map(|id| format!("{id}.{}", body.webhook.id)).collect::<Vec<_>>().join(",");
                let bytes = part(body.time_ms.as_deref(), body.events.iter().map(AsRef::as_ref));
                let signature = sign(&app.secret, [bytes.as_ref()]);
                Delivery {
                    app_id: app.id.clone(),
                    webhook: body.webhook.id.clone(),
                    target: body.webhook.target.clone(),
                    body: bytes,
                    headers: headers(body.webhook, &app.key, signature, id),
                    standard: app.standard_signing(body.webhook),
                }
            })
            .collect()
    }
}

impl<'a> Body<'a> {
    fn of(delivery: &Delivery, app: &'a App) -> Option<Self> {
        let body = &delivery.body;
        let payload: Payload<'_> = serde_json::from_slice(body).ok()?;
        let count = serde_json::from_str::<Vec<IgnoredAny>>(payload.events.get()).ok()?.len();
        let events = bytes(payload.events).strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii();
        let time_ms = payload.time_ms.map(|time_ms| body.slice_ref(bytes(time_ms)));
        let length = FRAME + time_ms.as_ref().map_or(0, |time_ms| TIME + time_ms.len()) + events.len();
        Some(Self {
            webhook: app.webhooks.iter().find(|webhook| webhook.id == delivery.webhook)?,
            time_ms,
            events: vec![body.slice_ref(events)],
            count,
            length,
        })
    }

    fn has_room(&self, next: &Self, limits: Limits) -> bool {
        self.count + next.count <= limits.events && self.length + next.added() <= limits.bytes
    }

    fn append(&mut self, next: Self) {
        self.length += next.added();
        self.count += next.count;
        self.events.extend(next.events);
    }

    /// How much longer another body gets by its events, the comma before them included.
    fn added(&self) -> usize {
        self.events.iter().map(|events| events.len() + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::job::Job;
    use crate::plan::plan;

    const ROOM: Limits = Limits { events: 100, bytes: 1 << 18 };

    fn app(webhooks: &str) -> App {
        let app = format!(r#"{{"id":"a","key":"k","secret":"app-secret","webhooks":{webhooks}}}"#);
        serde_json::from_str(&app).unwrap()
    }

    fn planned(app: &App, id: &str, payload: &str) -> Vec<Delivery> {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let signature = sign(&app.secret, [payload.as_ref()]);
        plan(
            &Job { app_key: "k".into(), app_id: "a".into(), payload, signature, sender_secret: None },
            app,
            id,
        )
        .unwrap()
    }

    fn header<'a>(delivery: &'a Delivery, name: &str) -> &'a str {
        &delivery.headers.iter().find(|(header, _)| header == name).unwrap().1
    }

    #[test]
    fn events_keep_their_bytes_and_order_under_the_first_time_signed_anew() {
        let app =
            app(r#"[{"url":"http://u/","headers":{"X-Own":"1"}},{"url":"http://v/","event_types":["b"]}]"#);
        let jobs = [
            r#"{"x":1,"time_ms":1.70e3, "events":[ {"name":"a","n":1.0} , {"name":"b","data":"\ud83d"} ]}"#,
            r#"{"events":[{"name":"b"}],"time_ms":9}"#,
        ];
        let mut merge = Coalescer::new(&app, ROOM);
        assert!(merge.add("m", &planned(&app, "m", jobs[0])) && merge.add("n", &planned(&app, "n", jobs[1])));
        assert_eq!(merge.jobs(), 2);
        let merged = merge.finish();
        assert_eq!(
            merged[0].body,
            r#"{"time_ms":1.70e3,"events":[{"name":"a","n":1.0} , {"name":"b","data":"\ud83d"},{"name":"b"}]}"#
        );
        assert_eq!(
            merged[1].body,
            r#"{"time_ms":1.70e3,"events":[{"name":"b","data":"\ud83d"},{"name":"b"}]}"#
        );
        for delivery in &merged {
            let signed = sign(&SecretString::from("app-secret"), [delivery.body.as_ref()]);
            assert_eq!(header(delivery, "X-Pusher-Signature"), signed);
        }
        for (delivery, webhook) in merged.iter().zip(&app.webhooks) {
            assert_eq!(delivery.webhook, webhook.id);
            assert_eq!(header(delivery, "X-Hookferry-Id"), format!("m.{0},n.{0}", webhook.id));
        }
        assert_eq!(header(&merged[0], "X-Own"), "1");
    }

    #[test]
    fn a_body_fills_its_limits_exactly() {
        let app = app(r#"[{"url":"http://u/"}]"#);
        for job in [r#"{"time_ms":1,"events":[{"n":1},{}]}"#, r#"{"events":[{},{ }]}"#] {
            let job = planned(&app, "m", job);
            let merge = |limits| {
                let mut merge = Coalescer::new(&app, limits);
                assert!(merge.add("m", &job), "the first goes whatever the limits are");
                let fits = (1..3).all(|_| merge.add("n", &job));
                fits.then(|| merge.finish().remove(0).body.len())
            };
            let length = merge(ROOM).unwrap();
            assert_eq!(merge(Limits { events: 6, bytes: length }), Some(length));
            assert_eq!(merge(Limits { events: 5, bytes: length }), None);
            assert_eq!(merge(Limits { events: 6, bytes: length - 1 }), None);
        }
    }

    #[test]
    fn what_does_not_fit_one_webhook_fits_none() {
        let app = app(r#"[{"url":"http://u/","event_types":["a"]},{"url":"http://v/"}]"#);
        let mut merge = Coalescer::new(&app, Limits { events: 3, bytes: 1000 });
        assert!(merge.add("1", &planned(&app, "1", r#"{"events":[{"name":"a"},{"name":"b"}]}"#)));
        assert!(!merge.add("2", &planned(&app, "2", r#"{"events":[{"name":"a"},{"name":"b"}]}"#)));
        assert_eq!(merge.jobs(), 1);
        assert!(merge.add("3", &planned(&app, "3", r#"{"events":[{"name":"a"}]}"#)));
        assert_eq!(merge.finish()[0].body, r#"{"events":[{"name":"a"},{"name":"a"}]}"#);
    }

    #[test]
    fn only_http_deliveries_to_the_same_webhooks_are_merged() {
        let app = app(
            r#"[{"url":"http://u/","event_types":["a"]},{"url":"http://v/"},{"lambda_function":"f","event_types":["f"]}]"#,
        );
        let (both, second, function) =
            (r#"{"events":[{"name":"a"}]}"#, r#"{"events":[{}]}"#, r#"{"events":[{"name":"f"}]}"#);
        let adds = |first: &str, next: &str| {
            let mut merge = Coalescer::new(&app, ROOM);
            merge.add("1", &planned(&app, "1", first)) && merge.add("2", &planned(&app, "2", next))
        };
        assert!(adds(both, both) && adds(second, second));
        assert!(!adds(both, second) && !adds(second, both));
        assert!(!adds(function, function) && !adds(second, function));
        assert!(!adds(r#"{"events":[]}"#, both), "nothing to send");
    }
}
