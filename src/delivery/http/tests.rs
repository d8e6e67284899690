use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::app::Target;
use crate::egress::resolver::Lookup;

/// Never answers, and counts what it was asked.
#[derive(Debug, Default)]
struct Silent(AtomicUsize);

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _name: &'a str) -> Lookup<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_look_up_that_goes_unanswered_counts_with_all_descriptors_that_it_may_hold() {
    let silent = Arc::new(Silent::default());
    let resolver: Arc<dyn Resolve> = Arc::<Silent>::clone(&silent);
    let mut http = Http::with_resolver(Settings::default(), resolver).unwrap();
    let most = 96;
    http.sockets = Sockets::new(most);
    let http = Arc::new(http);
    let attempts = (0..most).map(|n| {
        let http = Arc::clone(&http);
        let url = format!("http://host-{n}.test/");
        let delivery = Delivery {
            app_id: format!("app {n}"),
            webhook: "0".into(),
            target: Target::Http(url.clone()),
            body: Bytes::from_static(b"{}"),
            headers: Vec::new(),
            standard: None,
        };
        tokio::spawn(async move { http.attempt(&url, &delivery, 1).await })
    });
    let attempts: Vec<_> = attempts.collect();
    let asked = (most - most / 4).div_ceil(LOOK_UP);
    while attempts.iter().filter(|attempt| !attempt.is_finished()).count() > asked {
        sleep(Duration::from_millis(5)).await;
    }
    while silent.0.load(Ordering::Relaxed) < asked / 2 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(silent.0.load(Ordering::Relaxed) <= asked);
    for attempt in attempts {
        if attempt.is_finished() {
            assert_eq!(attempt.await.unwrap(), Outcome::Deferred(Reason::NoDescriptor));
        } else {
            attempt.abort();
        }
    }
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Some(Duration::ZERO));
    assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
    assert_eq!(retry_after("7.5", now), Some(Duration::from_secs(8)), "rounded up");
    assert_eq!(retry_after("7.0", now), Some(Duration::from_secs(7)));
    for nonsense in ["", "-1", "soon", "1.", ".5", "1.5.5", "1e3"] {
        assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
    }
}
