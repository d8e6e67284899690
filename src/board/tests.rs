use super::*;

fn attempt<'a>(app_id: &'a str, webhook: &'a str, outcome: &'a Outcome) -> Attempt<'a> {
    Attempt {
        app_id,
        webhook,
        destination: "example.com",
        outcome,
        took: Duration::from_millis(20),
        failing: Duration::ZERO,
    }
}

fn condition(board: &Board, webhook: &str) -> Condition {
    let state = board.state();
    let one = state.destinations.iter().find(|one| one.webhook.as_str() == webhook).unwrap();
    state.condition(one, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn a_destination_is_failing_then_down_and_ok_again_with_its_first_success() {
    let board = Board::default();
    let failure = Outcome::transient(Reason::Status(500));
    board.attempted(&attempt("shop", "a", &Outcome::Delivered));
    assert_eq!(condition(&board, "a"), Condition::Ok);
    board.attempted(&attempt("shop", "a", &failure));
    assert_eq!(condition(&board, "a"), Condition::Failing);
    fail_for(&board, &failure, Duration::from_secs(301)).await;
    assert_eq!(condition(&board, "a"), Condition::Down);
    board.attempted(&attempt("shop", "a", &Outcome::Delivered));
    assert_eq!(condition(&board, "a"), Condition::Ok);
}

#[tokio::test(start_paused = true)]
async fn one_that_says_it_is_busy_is_never_down() {
    let board = Board::default();
    let busy = Outcome::Transient { reason: Reason::Status(503), retry_after: Some(Duration::from_secs(9)) };
    let throttled = Outcome::transient(Reason::FunctionThrottled("too many".into()));
    for outcome in [busy, Outcome::transient(Reason::Status(429)), throttled] {
        fail_for(&board, &outcome, Duration::from_secs(3000)).await;
        assert_eq!(condition(&board, "a"), Condition::Failing);
    }
    // By what the breaker goes by, too: an answer is no sign of life because it says when to come again.
    let broken =
        Outcome::Transient { reason: Reason::Status(500), retry_after: Some(Duration::from_secs(9)) };
    fail_for(&board, &broken, Duration::from_secs(300)).await;
    assert_eq!(condition(&board, "a"), Condition::Failing, "what came before was a sign of life");
    fail_for(&board, &broken, Duration::from_secs(1)).await;
    assert_eq!(condition(&board, "a"), Condition::Down);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_filters_leave_nothing_of_is_an_apps_first_once_whoever_has_a_row() {
    let board = Board::default();
    let apps: Vec<_> = (0..1000).map(|n| format!("tenant-{n}")).collect();
    let first = (0..3).flat_map(|_| &apps).filter(|app_id| board.unmatched(app_id)).count();
    assert_eq!(first, apps.len());
    let more = (0..20_000).filter(|n| board.unmatched(&format!("more-{n}"))).count();
    assert_eq!(more, MAX_UNMATCHED - apps.len());
}

#[tokio::test(start_paused = true)]
async fn one_whose_retry_another_replica_made_does_not_count_as_failing_for_ever() {
    let board = Board::default();
    let failure = Outcome::transient(Reason::Status(503));
    fail_for(&board, &failure, Duration::from_secs(400)).await;
    let failing = |board: &Board| {
        let snapshot = board.snapshot(0, 9);
        (snapshot.failing.down + snapshot.failing.failing, snapshot.destinations.rows[0].since_s)
    };
    assert_eq!((condition(&board, "a"), failing(&board)), (Condition::Down, (1, Some(400))));
    tokio::time::advance(Duration::from_secs(121)).await;
    assert_eq!((condition(&board, "a"), failing(&board)), (Condition::Unknown, (0, None)));
    assert_eq!(board.snapshot(0, 9).destinations.rows[0].last_failed_s, Some(121));
    board.attempted(&attempt("shop", "a", &failure));
    let went_on = (Condition::Down, (1, Some(521)));
    assert_eq!(
        (condition(&board, "a"), failing(&board)),
        went_on,
        "as for the breaker: less than a window apart"
    );
    tokio::time::advance(Duration::from_secs(309)).await;
    board.attempted(&attempt("shop", "a", &failure));
    assert_eq!((condition(&board, "a"), failing(&board)), (Condition::Failing, (1, Some(0))));
}

#[tokio::test(start_paused = true)]
async fn each_of_many_replicas_knows_for_how_long_a_destination_has_failed_by_the_job_that_fails() {
    let failure = Outcome::transient(Reason::Status(500));
    let boards: Vec<_> = (0..10).map(|_| Board::default()).collect();
    let start = Instant::now();
    // A retry a minute, each by the next replica: each makes one in ten minutes.
    for board in boards.iter().cycle().take(20) {
        let failing = start.elapsed();
        board.attempted(&Attempt { failing, ..attempt("shop", "a", &failure) });
        let expected = if failing > Duration::from_secs(300) { Condition::Down } else { Condition::Failing };
        assert_eq!(condition(board, "a"), expected);
        let rows = board.snapshot(0, 9).destinations.rows;
        assert_eq!(rows[0].since_s, Some(failing.as_secs()));
        tokio::time::advance(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_receiver_cannot_take_does_not_make_it_down_while_it_takes_others() {
    let board = Board::default();
    let (failure, start) = (Outcome::transient(Reason::Status(500)), Instant::now());
    for _ in 0..100 {
        board.attempted(&Attempt { failing: start.elapsed(), ..attempt("shop", "a", &failure) });
        assert_eq!(condition(&board, "a"), Condition::Failing);
        tokio::time::advance(Duration::from_secs(5)).await;
        board.attempted(&attempt("shop", "a", &Outcome::Delivered));
        assert_eq!((condition(&board, "a"), board.destinations_down()), (Condition::Ok, 0));
        tokio::time::advance(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_once_is_not_down() {
    let board = Board::default();
    let limits = Limits { retry_window: Duration::from_secs(20), ..board.state().limits };
    board.set_limits(limits);
    board.attempted(&attempt("shop", "a", &Outcome::Permanent(Reason::Gone)));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(condition(&board, "a"), Condition::Failing);
}

#[tokio::test(start_paused = true)]
async fn one_for_which_jobs_wait_untried_stays_down() {
    let board = Board::default();
    fail_for(&board, &Outcome::transient(Reason::Status(500)), Duration::from_secs(400)).await;
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(100)).await;
        let down = Outcome::Deferred(Reason::DestinationDown("status 500".into()));
        board.attempted(&attempt("shop", "a", &down));
        assert_eq!(condition(&board, "a"), Condition::Down);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rows_of_webhooks_that_are_gone_go_and_their_counts_stay_in_the_sums() {
    let board = Board::default();
    for webhook in ["a", "b"] {
        board.attempted(&attempt("shop", webhook, &Outcome::transient(Reason::Status(500))));
    }
    board.only([("shop", "b"), ("chat", "a")]);
    let snapshot = board.snapshot(0, 9);
    let rows: Vec<_> = snapshot.destinations.rows.iter().map(|row| row.webhook.as_str()).collect();
    assert_eq!((rows, snapshot.failing.failing, snapshot.failing.at_least), (vec!["b"], 1, false));
    assert_eq!(board.state().destinations.other().failed, 1);
}

/// As retries do, at least once a minute.
async fn fail_for(board: &Board, failure: &Outcome, time: Duration) {
    let end = Instant::now() + time;
    board.attempted(&attempt("shop", "a", failure));
    while Instant::now() < end {
        tokio::time::advance(Duration::from_secs(60).min(end - Instant::now())).await;
        board.attempted(&attempt("shop", "a", failure));
    }
}

#[tokio::test(start_paused = true)]
async fn since_when_and_how_many_are_true_where_more_fail_than_there_are_rows() {
    let board = Board::default();
    let failure = Outcome::transient(Reason::Status(500));
    let names: Vec<_> = (0..300).map(|n| format!("tenant-{n}")).collect();
    for round in 0..=7 {
        for name in &names {
            board.attempted(&attempt(name, "a", &failure));
        }
        for n in 0..20 {
            for _ in 0..5 {
                board.attempted(&attempt(&format!("well-{n}"), "a", &Outcome::Delivered));
            }
        }
        let snapshot = board.snapshot(0, 40);
        let failing = snapshot.failing;
        let expected = if round > 5 { (300, 0) } else { (0, 300) };
        assert_eq!((failing.down, failing.failing), expected, "round {round}");
        assert!(!failing.at_least);
        for row in &snapshot.destinations.rows {
            assert_eq!(row.since_s, Some(round * 55), "{row:?} of round {round}");
        }
        tokio::time::advance(Duration::from_secs(55)).await;
    }
    for name in &names {
        board.attempted(&attempt(name, "a", &Outcome::Delivered));
    }
    let failing = board.snapshot(0, 40).failing;
    assert_eq!((failing.down, failing.failing), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_one_that_fails_longest_keeps_its_row_when_many_begin_to_fail() {
    let board = Board::default();
    let failure = Outcome::transient(Reason::Status(500));
    board.attempted(&attempt("first", "a", &failure));
    tokio::time::advance(Duration::from_secs(1)).await;
    for round in 0..5 {
        for n in 0..300 {
            board.attempted(&attempt(&format!("tenant-{n}"), "a", &failure));
        }
        let first = &board.snapshot(0, 40).destinations.rows[0];
        assert_eq!((&*first.app, first.failed), ("first", 1), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_half_of_an_attempts_time_is_slow() {
    let board = Board::default();
    let slow = Attempt { took: Duration::from_millis(2_500), ..attempt("shop", "a", &Outcome::Delivered) };
    board.attempted(&slow);
    assert_eq!(condition(&board, "a"), Condition::Slow);
    // One of two hundred.
    for _ in 0..200 {
        let quick =
            Attempt { took: Duration::from_millis(1_990), ..attempt("shop", "a", &Outcome::Delivered) };
        board.attempted(&quick);
    }
    assert_eq!(condition(&board, "a"), Condition::Ok);
    board.attempted(&slow);
    board.attempted(&slow);
    assert_eq!(condition(&board, "a"), Condition::Slow);
}

#[tokio::test(start_paused = true)]
async fn one_webhook_of_two_apps_is_counted_for_each() {
    let metrics = crate::telemetry::metrics::Metrics::new();
    let board = &metrics.board;
    board.attempted(&attempt("shop", "a", &Outcome::Delivered));
    board.attempted(&attempt("chat", "a", &Outcome::transient(Reason::Gone)));
    board.attempted(&attempt("chat", "a", &Outcome::Deferred(Reason::Busy(3))));
    board.deferred("chat", 4);
    board.unmatched("game");
    let text = metrics.encode(crate::telemetry::metrics::Format::Prometheus);
    for line in [
        r#"hookferry_destination_deliveries_total{app="shop",webhook="a",destination="example.com"} 1"#,
        r#"hookferry_destination_failures_total{app="chat",webhook="a",destination="example.com"} 1"#,
        r#"hookferry_destination_deferrals_total{app="chat",webhook="a",destination="example.com"} 1"#,
        r#"hookferry_app_deferrals_total{app="chat"} 4"#,
        r#"hookferry_app_unmatched_jobs_total{app="game"} 1"#,
        r#"hookferry_destinations{state="failing"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn apps_whose_ids_look_the_same_or_like_the_sum_of_others_have_series_of_their_own() {
    let metrics = crate::telemetry::metrics::Metrics::new();
    let long = "x".repeat(200);
    for app_id in [&*format!("{long}1"), &*format!("{long}2"), "a\u{202e}", "a\u{fffd}", "other"] {
        metrics.board.attempted(&attempt(app_id, "a", &Outcome::Delivered));
    }
    let text = metrics.encode(crate::telemetry::metrics::Format::Prometheus);
    let names: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("hookferry_app_deliveries_total") || line.starts_with("hookferry_dest")
        })
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    let different: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!((names.len(), different.len()), (4 * 6 + 6 + 5, 4 * 6 + 6 + 5), "{names:#?}");
    let rows = metrics.board.snapshot(0, 9).apps.rows;
    assert!(rows.iter().any(|row| row.app == "other"));
    assert!(rows.iter().all(|row| row.app.chars().count() <= Label::MOST));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tenants_cost_a_bounded_number_of_series() {
    let metrics = crate::telemetry::metrics::Metrics::new();
    let long = "x".repeat(30_000);
    for n in 0..10_000 {
        metrics.board.attempted(&attempt(&format!("app{n}{long}"), &n.to_string(), &Outcome::Delivered));
    }
    let text = metrics.encode(crate::telemetry::metrics::Format::Prometheus);
    assert!(text.len() < 512 * 1024, "{} bytes", text.len());
    let sum: u64 = text
        .lines()
        .filter(|line| line.starts_with("hookferry_app_deliveries_total"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 10_000);
}

#[test]
fn text_from_outside_is_cut_and_holds_no_control_characters() {
    assert_eq!(Label::new("a\nb\u{1b}[31m").as_str(), "a\u{fffd}b\u{fffd}[31m");
    let cut = Label::new(&"ü".repeat(1000));
    assert_eq!(cut.as_str().chars().count(), Label::MOST + 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_dead_letters_are_kept() {
    let board = Board::default();
    for n in 0..100 {
        let id = n.to_string();
        board.dead_lettered(&GivenUp {
            id: &id,
            group: "g",
            app_id: "shop",
            webhook: "a",
            destination: "example.com",
            others: &[],
            reason: "gone",
            detail: "status 410",
            attempts: 1,
            kept: true,
        });
    }
    let state = board.state();
    assert_eq!(state.letters.len(), LETTERS);
    assert_eq!(state.letters.front().unwrap().id.as_str(), "99");
    assert_eq!(state.destinations.iter().next().unwrap().dead_lettered, 100);
}

#[test]
fn what_is_known_from_the_start_has_series_at_0_and_counts_nowhere_else() {
    let metrics = crate::telemetry::metrics::Metrics::new();
    metrics.board.known((0..1000).map(|_| ("shop", "w1", "hooks.example".to_owned())));
    let text = metrics.encode(crate::telemetry::metrics::Format::Prometheus);
    for line in [
        r#"hookferry_destination_failures_total{app="shop",webhook="w1",destination="hooks.example"} 0"#,
        r#"hookferry_app_dead_letters_total{app="shop"} 0"#,
        r#"hookferry_destinations{state="ok"} 0"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
