use futures_util::future::{join_all, pending};
use secrecy::SecretString;
use tokio::time::{advance, sleep};

use super::*;

const TTL: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(1);

/// What the scripted source does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// Answers after so long with an app whose id is this.
    Has(&'static str, Duration),
    /// Answers with an app of so many bytes.
    HasLarge(usize),
    /// Says that there is no such app.
    HasNot,
    Fails,
    /// Says that the app is there and cannot be used.
    Breaks,
    Hangs,
}

/// A source that does what it was told last.
#[derive(Debug)]
struct Scripted {
    does: Mutex<Does>,
    asked: Mutex<usize>,
}

impl Scripted {
    fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Apps for Scripted {
    async fn find_by_key(&self, key: &str) -> Answer {
        *self.asked.lock().unwrap() += 1;
        let does = *self.does.lock().unwrap();
        match does {
            Does::Has(id, after) => {
                sleep(after).await;
                let secret = SecretString::from("s");
                Ok(Some(Arc::new(App::new(id.into(), key.into(), secret, Vec::new()))))
            }
            Does::HasLarge(bytes) => {
                let secret = SecretString::from("s");
                Ok(Some(Arc::new(App::new("i".repeat(bytes), key.into(), secret, Vec::new()))))
            }
            Does::HasNot => Ok(None),
            Does::Fails => Err(LookUpError::Unreachable("refused".into())),
            Does::Breaks => Err(LookUpError::Unusable("its webhooks".into())),
            Does::Hangs => pending().await,
        }
    }
}

fn cache(keep: CacheTtl, does: Does) -> Cache<Scripted> {
    let source = Scripted { does: Mutex::new(does), asked: Mutex::new(0) };
    Cache::observed(source, "the script", keep, DEADLINE, Observer::default())
}

fn id(answer: Answer) -> Option<String> {
    answer.unwrap().map(|app| app.id.clone())
}

const ONE: Does = Does::Has("one", Duration::ZERO);
const TWO: Does = Does::Has("two", Duration::ZERO);

#[tokio::test(start_paused = true)]
async fn a_hit_asks_nobody_and_awaits_nothing() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
    cache.source().does(Does::Hangs);
    advance(TTL.checked_sub(MOMENT).unwrap()).await;
    let hit = cache.find_by_key("k").now_or_never().expect("at once");
    assert_eq!(id(hit).as_deref(), Some("one"));
    assert_eq!(cache.source().asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_looked_up_anew_when_its_time_is_over() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(TWO);
    advance(TTL).await;
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("two"));
    assert_eq!(cache.source().asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_look_up_is_told_with_what_it_came_to() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&told);
    let observer = Observer::new(move |look_up| all.lock().unwrap().push(look_up));
    let source = Scripted { does: Mutex::new(ONE), asked: Mutex::new(0) };
    let cache = Cache::observed(source, "the script", CacheTtl::For(TTL), DEADLINE, observer);
    for _ in 0..2 {
        cache.find_by_key("k").await.unwrap();
    }
    cache.source().does(Does::Fails);
    advance(TTL).await;
    cache.find_by_key("k").await.unwrap();
    cache.find_by_key("other").await.unwrap_err();
    assert_eq!(*told.lock().unwrap(), [LookUp::Asked, LookUp::Remembered, LookUp::Stale, LookUp::Failed]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_misses_of_a_key_are_one_look_up() {
    let cache = cache(CacheTtl::For(TTL), Does::Has("one", Duration::from_secs(1)));
    let answers = join_all((0..100).map(|_| cache.find_by_key("k"))).await;
    assert!(answers.into_iter().all(|answer| id(answer).as_deref() == Some("one")));
    assert_eq!(cache.source().asked(), 1);
    cache.find_by_key("other").await.unwrap();
    assert_eq!(cache.source().asked(), 2, "another key is another look-up");
}

#[tokio::test(start_paused = true)]
async fn that_an_app_does_not_exist_is_remembered_briefly_and_never_served_stale() {
    let cache = cache(CacheTtl::For(TTL), Does::HasNot);
    assert_eq!(id(cache.find_by_key("k").await), None);
    assert_eq!(id(cache.find_by_key("k").await), None);
    assert_eq!(cache.source().asked(), 1);
    cache.source().does(Does::Fails);
    advance(NEGATIVE).await;
    cache.find_by_key("k").await.expect_err("it may have been created since");
    cache.source().does(ONE);
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn a_stale_entry_is_served_while_the_source_is_down() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(Does::Fails);
    advance(TTL * 100).await;
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
    assert_eq!(cache.source().asked(), 2, "not asked again at once");
    cache.find_by_key("new").await.expect_err("nothing to fall back on");
    cache.source().does(TWO);
    advance(STALE).await;
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("two"));
    assert_eq!(id(cache.find_by_key("new").await).as_deref(), Some("two"), "a failure is not remembered");
}

#[tokio::test(start_paused = true)]
async fn an_entry_far_older_than_what_the_source_last_said_is_not_served_while_it_is_down() {
    for (since, served) in [(OLDEST_STALE, true), (OLDEST_STALE + MOMENT, false)] {
        let cache = cache(CacheTtl::For(TTL), ONE);
        cache.find_by_key("rare").await.unwrap();
        advance(since).await;
        cache.find_by_key("busy").await.unwrap();
        cache.source().does(Does::Fails);
        advance(OLDEST_STALE * 10).await;
        assert_eq!(cache.find_by_key("rare").await.is_ok(), served, "{since:?}");
        cache.find_by_key("busy").await.expect("however long the source is down");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up_in_time_to_serve_what_is_stale() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(Does::Hangs);
    advance(TTL).await;
    let start = Instant::now();
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
    assert_eq!(start.elapsed(), DEADLINE);
    let failure = cache.find_by_key("new").await.expect_err("nothing to fall back on");
    assert!(failure.to_string().contains("the script did not answer within 2000 ms"), "{failure}");
    assert_eq!(start.elapsed(), DEADLINE * 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_takes_nothing_from_the_others() {
    let cache = cache(CacheTtl::For(TTL), Does::Has("one", Duration::from_secs(1)));
    let hasty = timeout(Duration::from_millis(100), cache.find_by_key("k"));
    let patient = async {
        sleep(Duration::from_millis(50)).await;
        cache.find_by_key("k").await
    };
    let (hasty, patient) = tokio::join!(hasty, patient);
    hasty.expect_err("cut off at its own deadline");
    assert_eq!(id(patient).as_deref(), Some("one"));
    assert_eq!(cache.source().asked(), 1, "the look-up that the hasty one began");
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_all_callers_gave_up_is_begun_anew() {
    let cache = cache(CacheTtl::For(TTL), Does::Hangs);
    timeout(MOMENT, cache.find_by_key("k")).await.expect_err("cut off");
    cache.source().does(ONE);
    let start = Instant::now();
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
    assert_eq!((cache.source().asked(), start.elapsed()), (2, Duration::ZERO));
    assert!(cache.state.lock().flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn entries_are_bounded_and_unknown_keys_go_first() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("first").await.unwrap();
    cache.source().does(Does::HasNot);
    for n in 0..MAX_ENTRIES * 2 {
        advance(Duration::from_micros(1)).await;
        cache.find_by_key(&format!("unknown{n}")).await.unwrap();
    }
    cache.source().does(ONE);
    let asked = cache.source().asked();
    cache.find_by_key("first").await.unwrap();
    assert_eq!(cache.source().asked(), asked, "a flood of unknown keys drives out no app");
    for n in 0..MAX_ENTRIES {
        advance(Duration::from_micros(1)).await;
        cache.find_by_key(&format!("app{n}")).await.unwrap();
        cache.find_by_key("first").await.unwrap();
    }
    assert!(cache.state.lock().entries.len() <= MAX_ENTRIES);
    assert_eq!(cache.source().asked(), asked + MAX_ENTRIES, "what is in use is not driven out");
    let asked = cache.source().asked();
    for n in [MAX_ENTRIES - 1, MAX_ENTRIES / 2] {
        cache.find_by_key(&format!("app{n}")).await.unwrap();
    }
    cache.find_by_key("first").await.unwrap();
    assert_eq!(cache.source().asked(), asked, "what was asked for lately stays");
    cache.find_by_key("app0").await.unwrap();
    assert_eq!(cache.source().asked(), asked + 1, "the oldest has gone");
}

#[tokio::test(start_paused = true)]
async fn entries_are_bounded_by_what_their_apps_take() {
    const LARGE: usize = 1 << 20;
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("small").await.unwrap();
    cache.source().does(Does::HasLarge(LARGE));
    for n in 0..100 {
        advance(Duration::from_millis(1)).await;
        cache.find_by_key(&format!("large{n}")).await.unwrap();
        cache.find_by_key("small").await.unwrap();
    }
    let held = |state: &Remembered| -> usize {
        state.entries.values().filter_map(|entry| Some(entry.answer.as_ref().ok()?.as_ref()?.id.len())).sum()
    };
    let (kept, bytes) = {
        let kept = cache.state.lock();
        (held(&kept), kept.bytes)
    };
    assert!(
        kept > MAX_BYTES / 2 && kept <= MAX_BYTES && bytes > kept && bytes <= MAX_BYTES,
        "{kept} {bytes}"
    );
    assert!(cache.state.lock().fresh_bytes <= MAX_FRESH_BYTES);
    assert_eq!(cache.source().asked(), 101, "what is in use and small is not driven out");
    cache.find_by_key("large99").await.unwrap();
    assert_eq!(cache.source().asked(), 101, "nor what was asked for lately");
    advance(TTL).await;
    cache.source().does(ONE);
    for n in 0..100 {
        cache.find_by_key(&format!("large{n}")).await.unwrap();
    }
    let bytes = cache.state.lock().bytes;
    assert!(bytes < LARGE, "what became small counts as small: {bytes}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_app_can_have_is_neither_looked_up_nor_kept() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    for key in ["", &"k".repeat(MAX_KEY + 1)] {
        assert_eq!(id(cache.find_by_key(key).await), None);
    }
    assert_eq!((cache.source().asked(), cache.state.lock().entries.len()), (0, 0));
    cache.find_by_key(&"k".repeat(MAX_KEY)).await.unwrap().expect("an app");
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_were_given_up_do_not_pile_up() {
    let cache = cache(CacheTtl::For(TTL), Does::Hangs);
    for n in 0..MANY_FLIGHTS * 3 {
        assert!(cache.find_by_key(&format!("k{n}")).now_or_never().is_none());
    }
    assert!(cache.state.lock().flights.len() <= MANY_FLIGHTS);
}

#[tokio::test(start_paused = true)]
async fn without_a_memory_every_look_up_asks_but_concurrent_ones_still_share() {
    let cache = cache(CacheTtl::Nothing, ONE);
    cache.find_by_key("k").await.unwrap();
    cache.find_by_key("k").await.unwrap();
    assert_eq!(cache.source().asked(), 2);
    cache.source().does(Does::Has("one", MOMENT));
    join_all((0..10).map(|_| cache.find_by_key("k"))).await;
    assert_eq!(cache.source().asked(), 3);
    cache.source().does(Does::Fails);
    cache.find_by_key("k").await.expect_err("nothing stale is kept");
}

#[tokio::test(start_paused = true)]
async fn kept_for_ever_is_asked_once() {
    let cache = cache(CacheTtl::Always, ONE);
    cache.find_by_key("k").await.unwrap();
    advance(TTL * 100_000).await;
    cache.find_by_key("k").await.unwrap();
    assert_eq!(cache.source().asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_complaint_is_made_once_a_minute() {
    let (mut said, now) = (Complaints::default(), Instant::now());
    assert!(said.is_new("k", "one", now) && said.is_new("k", "other", now));
    assert!(!said.is_new("k", "one", now + COMPLAIN_EVERY.checked_sub(MOMENT).unwrap()));
    assert!(said.is_new("k", "one", now + COMPLAIN_EVERY));
    let more = (0..1000).filter(|n| said.is_new("k", &n.to_string(), now + COMPLAIN_EVERY)).count();
    assert_eq!(more, MAX_COMPLAINTS_OF_ONE - 1);
}

#[tokio::test(start_paused = true)]
async fn apps_with_much_to_be_said_of_leave_room_for_others() {
    let mut said = Complaints::default();
    let now = Instant::now();
    let mut of_app = |key: &str, n: usize| said.is_new(key, &format!("{key}: {n}"), now);
    for app in 0..20 {
        let told = (0..50).filter(|n| of_app(&format!("greedy{app}"), *n)).count();
        assert!(told <= MAX_COMPLAINTS_OF_ONE, "{told}");
    }
    assert!((0..50).all(|app| of_app(&format!("other{app}"), 0)));
    let more = (0..1000).filter(|app| of_app(&format!("more{app}"), 0)).count();
    assert!(more < MAX_COMPLAINTS, "{more}");
}

#[tokio::test(start_paused = true)]
async fn a_few_large_apps_in_turn_leave_the_small_ones_remembered() {
    const LARGE: usize = 3 << 20;
    let cache = cache(CacheTtl::For(TTL * 100), ONE);
    for n in 0..100 {
        cache.find_by_key(&format!("small{n}")).await.unwrap();
    }
    cache.source().does(Does::HasLarge(LARGE));
    for round in 0..5 {
        for n in 0..12 {
            advance(Duration::from_millis(1)).await;
            cache.find_fresh(&format!("large{n}")).await.unwrap();
        }
        let asked = cache.source().asked();
        cache.source().does(ONE);
        for n in 0..100 {
            cache.find_by_key(&format!("small{n}")).await.unwrap();
        }
        assert_eq!(cache.source().asked(), asked, "round {round}");
        cache.source().does(Does::HasLarge(LARGE));
        advance(FRESH_FOR).await;
    }
    let kept = cache.state.lock().bytes;
    assert!((MAX_BYTES / 2..=MAX_BYTES).contains(&kept), "{kept}");
}

#[tokio::test(start_paused = true)]
async fn large_answers_of_the_last_second_leave_room_for_small_ones() {
    let cache = cache(CacheTtl::For(TTL), Does::HasLarge(1 << 20));
    for n in 0..20 {
        cache.find_fresh(&format!("large{n}")).await.unwrap();
    }
    cache.source().does(ONE);
    let asked = cache.source().asked();
    for _ in 0..3 {
        for n in 0..100 {
            cache.find_fresh(&format!("small{n}")).await.unwrap();
        }
    }
    assert_eq!(cache.source().asked(), asked + 100);
    cache.find_fresh("large0").await.unwrap();
    assert_eq!(cache.source().asked(), asked + 100, "large ones are kept, too, as far as they have room");
    assert!(cache.state.lock().fresh_bytes <= MAX_FRESH_BYTES);
}

#[tokio::test(start_paused = true)]
async fn who_asks_past_the_memory_gets_what_the_source_says_now_and_when_it_was_asked() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(Does::Has("two", MOMENT));
    advance(FRESH_FOR).await;
    let before = Instant::now();
    let fresh = cache.find_fresh("k").await.unwrap();
    assert_eq!(fresh.app.unwrap().id, "two");
    assert_eq!(fresh.asked_at, before, "when the question went out, not when the answer came");
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("two"), "and it is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_looked_up_past_the_memory_once_a_second_whoever_asks() {
    let cache = cache(CacheTtl::Nothing, Does::HasNot);
    let start = Instant::now();
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.extend(join_all((0..10).map(|_| cache.find_fresh("k"))).await);
        advance(Duration::from_millis(99)).await;
    }
    assert_eq!(cache.source().asked(), 10, "in {} ms", start.elapsed().as_millis());
    for answer in answers {
        assert!(answer.unwrap().app.is_none());
    }
    cache.find_fresh("other").await.unwrap();
    assert_eq!(cache.source().asked(), 11, "another key has a second of its own");
}

#[tokio::test(start_paused = true)]
async fn past_the_memory_nothing_stale_is_told_while_the_source_is_down() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(Does::Fails);
    advance(FRESH_FOR).await;
    assert_eq!(cache.find_fresh("k").await.unwrap_err(), LookUpError::Unreachable("refused".into()));
    assert_eq!(cache.find_fresh("k").await.unwrap_err(), LookUpError::Unreachable("refused".into()));
    assert_eq!(cache.source().asked(), 2, "a failure, too, is asked for once a second");
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_used_is_told_as_such_and_nothing_older_stands_in_for_it() {
    let cache = cache(CacheTtl::For(TTL), ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(Does::Breaks);
    advance(TTL).await;
    let unusable = LookUpError::Unusable("its webhooks".into());
    assert_eq!(cache.find_by_key("k").await.unwrap_err(), unusable);
    assert_eq!(cache.find_by_key("k").await.unwrap_err(), unusable);
    assert_eq!(
        cache.source().asked(),
        2,
        "that it is broken is remembered as briefly as that it is not there"
    );
    cache.source().does(TWO);
    advance(NEGATIVE).await;
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("two"));
}

#[tokio::test(start_paused = true)]
async fn answers_kept_for_a_second_are_bounded() {
    let cache = cache(CacheTtl::Nothing, Does::HasNot);
    for n in 0..MAX_FRESH * 2 {
        cache.find_fresh(&format!("k{n}")).await.unwrap();
    }
    assert!(cache.state.lock().fresh.len() <= MAX_FRESH);
    advance(FRESH_FOR).await;
    cache.find_fresh("k").await.unwrap();
    assert_eq!(cache.state.lock().fresh.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_every_key_is_looked_up_again_and_what_was_known_serves_while_the_source_is_down() {
    let cache = cache(CacheTtl::Always, ONE);
    cache.find_by_key("k").await.unwrap();
    cache.source().does(Does::Fails);
    cache.expire();
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("one"));
    cache.source().does(TWO);
    cache.expire();
    assert_eq!(id(cache.find_by_key("k").await).as_deref(), Some("two"));
}
