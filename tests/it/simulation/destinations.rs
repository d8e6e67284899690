//! The ports to the destinations and to the app source, which behave as the plan says.

use std::sync::Arc;
use std::time::Duration;

use hookferry::app::App;
use hookferry::apps::{Apps, LookUpError};
use hookferry::delivery::Transport;
use hookferry::outcome::{Outcome, Reason};
use hookferry::plan::Delivery;
use tokio::time::sleep;

use super::book::{Event, Request};
use super::outside::Process;
use super::plan::Behaviour;

/// The port to the destinations.
#[derive(Clone, Debug)]
pub struct SimulatedDestinations(pub Arc<Process>);

/// An attempt that has arrived; dropped when it ends, however it ends.
struct Arrived<'a> {
    process: &'a Process,
    request: &'a Arc<Request>,
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        let (request, dead) = (Arc::clone(self.request), self.process.killed.is_cancelled());
        self.process.outside.write(Event::Over { request, dead });
    }
}

/// A process that asks; dropped when it has its answer or gives up waiting.
struct Asking<'a> {
    process: &'a Process,
    request: &'a Arc<Request>,
    in_vain: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.in_vain {
            self.process.outside.write(Event::InVain(Arc::clone(self.request)));
        }
    }
}

/// A process that asks for an app; dropped when it is told of it or gives up waiting.
struct AskingFor<'a> {
    process: &'a Process,
    app: usize,
    in_vain: bool,
}

impl Drop for AskingFor<'_> {
    fn drop(&mut self) {
        if self.in_vain {
            let (process, app) = (self.process.id, self.app);
            self.process.outside.write(Event::AppUntold { process, app });
        }
    }
}

impl Transport for SimulatedDestinations {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        let (process, outside) = (&*self.0, &self.0.outside);
        let request = {
            let mut book = outside.book();
            let request = book.next_request();
            let own = outside.bodies.message_of(&delivery.body);
            let mut taken = Vec::new();
            let message = |job| {
                let held =
                    own.unwrap_or_else(|| book.held(process.id, job, delivery.webhook.as_str(), &taken));
                taken.push(held);
                held
            };
            Arc::new(Request::of(delivery, number, (process.id, request), message))
        };
        let mut asking = Asking { process, request: &request, in_vain: true };
        outside.write(Event::SetOut(Arc::clone(&request)));
        process.travel(10).await;
        outside.write(Event::Arrived(Arc::clone(&request)));
        let _arrived = Arrived { process, request: &request };
        let host = request.url.strip_prefix("http://h").and_then(|rest| rest.split('/').next()).unwrap();
        let host = host.parse::<usize>().unwrap();
        let behaviour = outside.plan.hosts[host].at(outside.now()).clone();
        let outcome = self.answer(&request, host, behaviour).await;
        process.step().await;
        match &outcome {
            Outcome::Delivered => {
                asking.in_vain = false;
                outside.write(Event::Told(Arc::clone(&request)));
            }
            Outcome::Transient { reason, .. } | Outcome::Permanent(reason) | Outcome::Deferred(reason) => {
                let (request, reason) = (Arc::clone(&request), reason.code());
                outside.write(Event::Refused { request, reason });
            }
        }
        outcome
    }
}

impl SimulatedDestinations {
    async fn answer(&self, request: &Arc<Request>, host: usize, behaviour: Behaviour) -> Outcome {
        let outside = &self.0.outside;
        let draw = |most| outside.dice().millis(0..most);
        let accept = || outside.write(Event::Accepted(Arc::clone(request)));
        let broken = || Outcome::transient(Reason::Broken("reset".to_owned()));
        match behaviour {
            Behaviour::Accepts(takes) => {
                let takes = outside.dice().millis(takes);
                sleep(takes).await;
                accept();
                Outcome::Delivered
            }
            Behaviour::Answers(status, after) => {
                let takes = draw(30);
                sleep(takes).await;
                outside.write(Event::Fault("destination: error status"));
                let retry_after = after.map(Duration::from_secs);
                match status {
                    410 => Outcome::Permanent(Reason::Gone),
                    _ => Outcome::Transient { reason: Reason::Status(status), retry_after },
                }
            }
            Behaviour::Flaky(fails) => {
                let takes = draw(100);
                sleep(takes).await;
                if outside.dice().chance(fails) {
                    return Outcome::transient(Reason::Status(503));
                }
                accept();
                Outcome::Delivered
            }
            Behaviour::Busy(most, status) => {
                let takes = draw(50);
                sleep(takes).await;
                if !outside.has_room(host, most) {
                    outside.write(Event::Fault("destination: busy"));
                    let retry_after = Some(Duration::from_secs(1));
                    return Outcome::Transient { reason: Reason::Status(status), retry_after };
                }
                accept();
                Outcome::Delivered
            }
            Behaviour::Hangs => {
                outside.write(Event::Fault("destination: hangs"));
                std::future::pending().await
            }
            Behaviour::HangsSometimes(hangs) => {
                let takes = draw(10);
                sleep(takes).await;
                if outside.dice().chance(hangs) {
                    outside.write(Event::Fault("destination: hangs"));
                    return std::future::pending().await;
                }
                accept();
                Outcome::Delivered
            }
            Behaviour::Trickles(body) => {
                let takes = draw(50);
                sleep(takes).await;
                accept();
                outside.write(Event::Fault("destination: trickles"));
                let takes = outside.dice().millis(body);
                sleep(takes).await;
                Outcome::Delivered
            }
            Behaviour::Resets => {
                let takes = draw(50);
                sleep(takes).await;
                outside.write(Event::Fault("destination: resets"));
                if outside.dice().chance(0.5) {
                    accept();
                }
                broken()
            }
        }
    }
}

/// The port to the app source.
#[derive(Clone, Debug)]
pub struct SimulatedApps(pub Arc<Process>);

impl Apps for SimulatedApps {
    fn lag(&self) -> Duration {
        self.0.outside.plan.app_lag
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        let outside = &self.0.outside;
        let Some(app) = key.strip_prefix('k').and_then(|n| n.parse::<usize>().ok()) else { return Ok(None) };
        let mut asking = AskingFor { process: &self.0, app, in_vain: true };
        if outside.plan.apps_down.contains(&outside.now()) {
            outside.write(Event::Fault("app source down"));
            if outside.dice().chance(0.2) {
                std::future::pending::<()>().await;
            }
            return Err(LookUpError::Unreachable("down".to_owned()));
        }
        self.0.travel(5).await;
        let now = outside.now();
        if outside.plan.is_unusable(app, now, now) {
            asking.in_vain = false;
            outside.write(Event::Fault("app unusable"));
            return Err(LookUpError::Unusable("its webhooks are no list".to_owned()));
        }
        let versions = &outside.plan.apps[app];
        // A replica, or an index, that is behind.
        let lag = u64::try_from(outside.plan.app_lag.as_millis()).unwrap();
        let behind = if lag > 0 { outside.dice().millis(0..lag) } else { Duration::ZERO };
        let seen = |version: &super::plan::Version| version.from + behind <= now;
        let current = versions.iter().rposition(seen).unwrap_or_default();
        if current > 0 {
            outside.write(Event::Fault("app changed"));
        }
        asking.in_vain = false;
        outside.write(Event::AppTold { process: self.0.id, app });
        Ok(outside.apps[app][current].clone())
    }
}
