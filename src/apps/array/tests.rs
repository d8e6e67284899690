use super::*;

const APP: &str = r#"{"id":"a","key":"k","secret":"s","webhooks":[{"url":"http://h/"}]}"#;

fn at(file: &Path) -> AppsFile {
    AppsFile { path: file.to_owned(), variables: Variables::default() }
}

#[tokio::test]
async fn a_file_that_changed_before_it_was_watched_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, format!("[{APP}]")).unwrap();
    let array = Array::with_file(Listed::default(), Some((at(&file), Listed::default())));
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(array.clone().watch(shutdown.clone()));
    while array.find_by_key("k").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, "[]").unwrap();
    tokio::time::pause();
    let always: App = serde_json::from_str(r#"{"id":"d","key":"default","secret":"s"}"#).unwrap();
    let array = Array::with_file(
        Listed { apps: vec![always], ..Listed::default() },
        Some((at(&file), Listed::default())),
    );
    let shutdown = CancellationToken::new();
    let watch = tokio::spawn(array.clone().watch(shutdown.clone()));
    let settle = async || {
        tokio::time::sleep(RELOAD_EVERY * 2).await;
        // File access runs on threads that the paused clock does not wait for.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    };
    settle().await;
    std::fs::write(&file, format!("[{APP}]")).unwrap();
    while array.find_by_key("k").await.unwrap().is_none() {
        settle().await;
    }
    std::fs::write(&file, "[broken").unwrap();
    for _ in 0..10 {
        settle().await;
    }
    assert!(array.find_by_key("k").await.unwrap().is_some());
    std::fs::remove_file(&file).unwrap();
    for _ in 0..10 {
        settle().await;
    }
    assert!(array.find_by_key("k").await.unwrap().is_some(), "a file that is gone is a broken one");
    std::fs::write(&file, "[ ]").unwrap();
    while array.find_by_key("k").await.unwrap().is_some() {
        settle().await;
    }
    assert!(array.find_by_key("default").await.unwrap().is_some(), "the environment's app stays");
    shutdown.cancel();
    watch.await.unwrap();
}
#[tokio::test(start_paused = true)]
async fn who_asks_past_what_was_loaded_gets_the_file_as_it_is_now_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, "[]").unwrap();
    let array = Array::with_file(Listed::default(), Some((at(&file), Listed::default())));
    assert!(array.find_fresh("k").await.unwrap().app.is_none());
    let replacement = dir.path().join("new.json");
    std::fs::write(&replacement, format!("[{APP}]")).unwrap();
    std::fs::rename(&replacement, &file).unwrap();
    assert!(array.find_by_key("k").await.unwrap().is_none());
    let before = Instant::now();
    tokio::time::advance(FRESH_FOR / 2).await;
    let early = array.find_fresh("k").await.unwrap();
    assert!(early.app.is_none() && early.asked_at <= before, "an answer of the last second, and said so");
    tokio::time::advance(FRESH_FOR).await;
    let asked = Instant::now();
    let all = futures_util::future::join_all((0..10).map(|_| array.find_fresh("k"))).await;
    for fresh in all {
        let fresh = fresh.unwrap();
        assert!(fresh.app.is_some() && fresh.asked_at >= asked);
    }
    assert!(array.find_by_key("k").await.unwrap().is_some(), "and it is what everyone gets from now on");
    let without = Array::new([]);
    let asked = Instant::now();
    assert!(without.find_fresh("k").await.unwrap().asked_at >= asked, "the environment never changes");
}

#[tokio::test]
async fn an_app_that_cannot_be_used_is_told_as_such_and_its_neighbours_are_found() {
    let bad = r#"{"id":"b","key":"x","webhooks":[]}"#;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, format!("[{APP}]")).unwrap();
    let array = Array::with_file(Listed::default(), Some((at(&file), at(&file).read().unwrap())));
    std::fs::write(&file, format!("[{bad},{APP}]")).unwrap();
    array.reload().await;
    assert!(array.find_by_key("k").await.unwrap().is_some());
    let Err(LookUpError::Unusable(why)) = array.find_by_key("x").await else { panic!("unusable") };
    assert!(why.contains("app \"b\"") && why.contains("no secret"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn while_the_file_cannot_be_read_nobody_knows_what_its_apps_are_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, format!("[{APP}]")).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&told);
    let array = Array::with_file(Listed::default(), Some((at(&file), at(&file).read().unwrap())))
        .observed_by(Observer::new(move |look_up| all.lock().unwrap().push(look_up)));
    for broken in [&b"[{\"id\":\"a\""[..], b"", b"\xff"] {
        std::fs::write(&file, broken).unwrap();
        tokio::time::advance(FRESH_FOR).await;
        let Err(LookUpError::Unreachable(why)) = array.find_fresh("new").await else { panic!("{broken:?}") };
        assert!(why.contains("APPS_FILE") && why.contains("apps.json"), "{why}");
        assert!(array.find_by_key("k").await.unwrap().is_some(), "the last good apps stay");
        let (warnings, count) = array.warnings();
        assert!(count == 1 && warnings[0].contains("apps.json cannot be read: "), "{warnings:?}");
        assert_eq!(told.lock().unwrap().split_off(0), [LookUp::Stale, LookUp::Failed]);
    }
    std::fs::remove_file(&file).unwrap();
    tokio::time::advance(FRESH_FOR).await;
    assert!(matches!(array.find_fresh("k").await, Err(LookUpError::Unreachable(_))));
    // As it was when it was read last.
    std::fs::write(&file, format!("[{APP}]")).unwrap();
    tokio::time::advance(FRESH_FOR).await;
    assert!(array.find_fresh("k").await.unwrap().app.is_some());
    assert_eq!((array.warnings().1, told.lock().unwrap().last()), (0, Some(&LookUp::Asked)));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_read_again_though_it_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, "[]").unwrap();
    let array = Array::with_file(Listed::default(), Some((at(&file), Listed::default())));
    array.find_fresh("k").await.unwrap();
    // What a mount in trouble leaves behind, or the mode of a file: the same version, and no answer.
    std::fs::write(&file, format!("[{APP}]")).unwrap();
    {
        let mut seen = array.file.as_ref().unwrap().seen();
        seen.error = Some("permission denied".into());
    }
    let version = version(&file).await;
    array.file.as_ref().unwrap().seen().version = version;
    tokio::time::advance(FRESH_FOR).await;
    assert!(array.find_fresh("k").await.unwrap().app.is_some());
}

#[tokio::test]
async fn an_app_without_a_key_is_known_by_its_id() {
    let array = Array::with_file(
        parse(r#"[{"id":"b","secret":"s","webhooks":[]}]"#, &Variables::new([])).unwrap(),
        None,
    );
    assert!(array.unusable("b").unwrap().contains("key"));
    assert!(array.unusable("c").is_none());
}
