//! The deliveries of consecutive jobs, merged into one for each webhook.
//!
//! Pure, as all of planning. A merged body is the events' own bytes in the order of the jobs, under the
//! first job's `time_ms`, signed anew.

use std::ops::Range;

use bytes::Bytes;

use super::{Delivery, FRAME, Pieces, Selection, TIME, headers, part};
use crate::app::{App, Target, Webhook};
use crate::job::{Job, sign};

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
    /// The events, without the brackets around them: one after the other, or all of a job as they stand in it.
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

    /// Adds the next job: all that it has left to deliver of what was selected for the app's webhooks. `id` is that of
    /// [`plan`](super::plan).
    ///
    /// `false`, and nothing is added, if it cannot go out with those before it: there is nothing to deliver, a webhook
    /// is no HTTP request, they are other webhooks, or a limit would be exceeded.
    pub fn add(&mut self, id: &'a str, job: &Job, pieces: &Pieces, selected: &[Selection]) -> bool {
        let first = self.ids.is_empty();
        let mut next = Vec::with_capacity(selected.len());
        for selection in selected {
            let Some(webhook) = self.app.webhooks.get(selection.index) else { continue };
            let is_next =
                first || self.bodies.get(next.len()).is_some_and(|body| body.webhook.id == webhook.id);
            if !is_next || !matches!(webhook.target, Target::Http(_)) {
                return false;
            }
            next.push(Body::of(webhook, job, pieces, selection));
        }
        if next.is_empty() || !first && next.len() != self.bodies.len() {
            return false;
        }
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
                    timeout: None,
                }
            })
            .collect()
    }
}

impl<'a> Body<'a> {
    fn of(webhook: &'a Webhook, job: &Job, pieces: &Pieces, selection: &Selection) -> Self {
        let piece = |range: &Range<usize>| {
            let part = job.payload.get(range.clone()).unwrap_or_default();
            job.payload.slice_ref(part)
        };
        let (events, count): (Vec<Bytes>, usize) = match &selection.kept {
            None => (vec![piece(&pieces.all)], pieces.count),
            Some(kept) => {
                let kept = pieces.events.iter().zip(kept).filter(|(_, kept)| **kept);
                let events: Vec<Bytes> = kept.map(|(range, _)| piece(range)).collect();
                let count = events.len();
                (events, count)
            }
        };
        let time_ms = pieces.time_ms.as_ref().map(piece);
        let frame = FRAME + time_ms.as_ref().map_or(0, |time_ms| TIME + time_ms.len());
        let mut body = Self { webhook, time_ms, events, count, length: 0 };
        // No comma is before the first event.
        body.length = frame + body.added().saturating_sub(1);
        body
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
    use crate::plan::{Plan, select};

    const ROOM: Limits = Limits { events: 100, bytes: 1 << 18 };

    fn app(webhooks: &str) -> App {
        let app = format!(r#"{{"id":"a","key":"k","secret":"app-secret","webhooks":{webhooks}}}"#);
        serde_json::from_str(&app).unwrap()
    }

    fn add<'a>(merge: &mut Coalescer<'a>, id: &'a str, payload: &str) -> bool {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let signature = sign(&merge.app.secret, [payload.as_ref()]);
        let job = Job { app_key: "k".into(), app_id: "a".into(), payload, signature, sender_secret: None };
        let Plan { pieces, selected, .. } = select(&job, merge.app).unwrap();
        merge.add(id, &job, &pieces, &selected)
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
        assert!(add(&mut merge, "m", jobs[0]) && add(&mut merge, "n", jobs[1]));
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
            let merge = |limits| {
                let mut merge = Coalescer::new(&app, limits);
                assert!(add(&mut merge, "m", job), "the first goes whatever the limits are");
                let fits = (1..3).all(|_| add(&mut merge, "n", job));
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
        assert!(add(&mut merge, "1", r#"{"events":[{"name":"a"},{"name":"b"}]}"#));
        assert!(!add(&mut merge, "2", r#"{"events":[{"name":"a"},{"name":"b"}]}"#));
        assert_eq!(merge.jobs(), 1);
        assert!(add(&mut merge, "3", r#"{"events":[{"name":"a"}]}"#));
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
            add(&mut merge, "1", first) && add(&mut merge, "2", next)
        };
        assert!(adds(both, both) && adds(second, second));
        assert!(!adds(both, second) && !adds(second, both));
        assert!(!adds(function, function) && !adds(second, function));
        assert!(!adds(r#"{"events":[]}"#, both), "nothing to send");
    }
}
