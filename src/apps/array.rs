//! Apps from the environment and from a file that is reloaded when it changes.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Apps, FRESH_FOR, Fresh, LookUpError};
use crate::app::{App, Target};
use crate::json::describe_json_error;

/// How often the file is looked at. By time stamp and size: that works on every kind of mount.
const RELOAD_EVERY: Duration = Duration::from_secs(2);

/// Apps by key; a clone shares them.
#[derive(Clone, Debug)]
pub struct Array {
    apps: Arc<ArcSwap<HashMap<String, Arc<App>>>>,
    file: Option<Arc<File>>,
}

/// The file that the apps beyond the environment's come from.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// The environment's apps, which no file replaces.
    always: Vec<App>,
    seen: Mutex<Seen>,
}

/// What is known of the file.
#[derive(Debug, Default)]
struct Seen {
    /// The version that was read last.
    version: Version,
    /// When it was last looked at, if that look has ended.
    looked_at: Option<Instant>,
    look: Option<WeakShared<BoxFuture<'static, Instant>>>,
}

/// What tells two states of a file apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Version {
    /// It was not read yet.
    #[default]
    Unread,
    /// It is not there.
    Absent,
    /// Time stamp, size and inode.
    Of(SystemTime, u64, u64),
}

/// Why a file of apps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is no JSON, or not of apps.
    #[error("is not a JSON array of apps, nor a soketi config file with appManager.array.apps: {0}")]
    Parse(#[from] serde_json::Error),
    /// An app is of no use.
    #[error("{0}")]
    App(String),
}

impl Array {
    /// Of these apps; the first of two with one key wins.
    #[must_use]
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        Self { apps: Arc::new(ArcSwap::from_pointee(by_key(apps))), file: None }
    }

    /// Of the apps `always` and those that `file` held when it was read, `more`.
    #[must_use]
    pub fn with_file(always: Vec<App>, more: Vec<App>, file: PathBuf) -> Self {
        let apps = by_key(always.iter().cloned().chain(more));
        let file = File { path: file, always, seen: Mutex::default() };
        Self { apps: Arc::new(ArcSwap::from_pointee(apps)), file: Some(Arc::new(file)) }
    }

    /// Looks at the file at once and then until `shutdown`, and takes it over when it has changed. A
    /// broken file keeps the last good apps.
    pub async fn watch(self, shutdown: CancellationToken) {
        let Some(file) = &self.file else { return };
        loop {
            self.look(file).await;
            if shutdown.run_until_cancelled(tokio::time::sleep(RELOAD_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at the file once, or waits for whoever does; gives the time of that look.
    fn look(&self, file: &Arc<File>) -> Shared<BoxFuture<'static, Instant>> {
        let mut seen = file.seen();
        if let Some(look) = seen.look.as_ref().and_then(WeakShared::upgrade) {
            return look;
        }
        let (array, file) = (self.clone(), Arc::clone(file));
        let looked_at = Instant::now();
        let look = async move {
            let version = version(&file.path).await;
            // At the first look it may have changed since it was read, while the queue was awaited.
            if file.seen().version != version {
                array.reload(&file).await;
            }
            let mut seen = file.seen();
            seen.version = version;
            seen.looked_at = Some(looked_at);
            seen.look = None;
            looked_at
        };
        let look = look.boxed().shared();
        seen.look = look.downgrade();
        look
    }

    /// All of the file or nothing of it.
    async fn reload(&self, file: &File) {
        let path = &file.path;
        let read = tokio::fs::read_to_string(path).await.map_err(FileError::from);
        match read.and_then(|text| parse(&text)) {
            Ok(apps) => {
                info!(file = %path.display(), apps = apps.len(), "apps loaded");
                self.apps.store(Arc::new(by_key(file.always.iter().cloned().chain(apps))));
            }
            Err(error) => {
                error!(file = %path.display(), %error, "APPS_FILE cannot be reloaded; the last good apps stay");
            }
        }
    }
}

impl File {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Apps for Array {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        Ok(self.apps.load().get(key).cloned())
    }

    /// The file is looked at, whichever key it is, at most once in [`FRESH_FOR`].
    async fn find_fresh(&self, key: &str) -> Result<Fresh, LookUpError> {
        let now = Instant::now();
        let asked_at = match &self.file {
            None => now,
            Some(file) => {
                let last = file.seen().looked_at.filter(|at| now.duration_since(*at) < FRESH_FOR);
                match last {
                    Some(last) => last,
                    None => self.look(file).await,
                }
            }
        };
        Ok(Fresh { app: self.find_by_key(key).await?, asked_at })
    }
}

/// Reads a file of apps.
pub fn read(file: &Path) -> Result<Vec<App>, FileError> {
    parse(&std::fs::read_to_string(file)?)
}

/// Says what is wrong with an app's webhooks, if anything.
///
/// # Errors
/// The webhook's place and what it lacks.
pub fn check(app: &App) -> Result<(), String> {
    for (n, webhook) in app.webhooks.iter().enumerate() {
        let place = || format!("webhook {n} of app {:?}", app.id);
        match &webhook.target {
            Target::Missing => return Err(format!("{} has neither url nor lambda_function", place())),
            Target::Http(url) => {
                if let Err(reason) = url::Url::parse(url.trim()) {
                    return Err(format!("{}: its url is no URL: {reason}", place()));
                }
            }
            Target::Unusable { why, .. } => return Err(format!("{}: {why}", place())),
            Target::Lambda(_) => {}
        }
    }
    Ok(())
}

/// Takes the text of such a file apart.
pub fn parse(text: &str) -> Result<Vec<App>, FileError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum File {
        Apps(Vec<serde_json::Value>),
        Config {
            #[serde(rename = "appManager")]
            manager: Manager,
        },
        Flat {
            #[serde(rename = "appManager.array.apps")]
            apps: Vec<serde_json::Value>,
        },
    }
    #[derive(Deserialize)]
    struct Manager {
        array: Listed,
    }
    #[derive(Deserialize)]
    struct Listed {
        apps: Vec<serde_json::Value>,
    }
    // First as JSON at all, so that a slip of the pen is told with its line and column.
    let value: serde_json::Value = serde_json::from_str(text)?;
    let apps = match serde_json::from_value(value)? {
        File::Apps(apps) | File::Flat { apps } => apps,
        File::Config { manager } => manager.array.apps,
    };
    apps.into_iter()
        .enumerate()
        .map(|(n, app)| {
            let fields: Vec<String> =
                app.as_object().map(|app| app.keys().cloned().collect()).unwrap_or_default();
            let app: App = serde_json::from_value(app).map_err(|error| {
                FileError::App(format!("app {n} of the file: {}", lacks(&fields, &error)))
            })?;
            check(&app).map_err(FileError::App)?;
            Ok(app)
        })
        .collect()
}

/// What is wrong with an app, without quoting any of it.
fn lacks(fields: &[String], error: &serde_json::Error) -> String {
    match ["id", "key", "secret"].iter().find(|name| !fields.iter().any(|field| field == *name)) {
        Some(name) => format!("it has no `{name}`"),
        None => describe_json_error(error),
    }
}

fn by_key(apps: impl IntoIterator<Item = App>) -> HashMap<String, Arc<App>> {
    let mut map = HashMap::new();
    for app in apps {
        map.entry(app.key.clone()).or_insert_with(|| Arc::new(app));
    }
    map
}

async fn version(file: &Path) -> Version {
    let Ok(metadata) = tokio::fs::metadata(file).await else { return Version::Absent };
    match metadata.modified() {
        Ok(modified) => Version::Of(modified, metadata.len(), metadata.ino()),
        Err(_) => Version::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = r#"{"id":"a","key":"k","secret":"s","webhooks":[{"url":"http://h/"}]}"#;

    #[test]
    fn a_file_is_a_list_of_apps_or_a_soketi_config() {
        for text in [
            format!("[{APP}]"),
            format!(r#"{{"debug":true,"appManager":{{"driver":"array","array":{{"apps":[{APP}]}}}}}}"#),
            format!(r#"{{"appManager.array.apps":[{APP}]}}"#),
        ] {
            assert_eq!(parse(&text).unwrap()[0].key, "k", "{text}");
        }
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        for (text, says) in [
            ("[", "line 1"),
            ("{}", "not a JSON array of apps"),
            (r#"[{"id":"a","key":"k"}]"#, "no `secret`"),
            (r#"[{"id":"a","key":"k","secret":"s","webhooks":[{"headers":"x"}]}]"#, "wrong type"),
            (r#"[{"id":"a","key":"k","secret":"s","webhooks":[{}]}]"#, "neither url nor lambda_function"),
            (r#"[{"id":"a","key":"k","secret":"s","webhooks":[{"url":"h"}]}]"#, "no URL"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_before_it_was_watched_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("apps.json");
        std::fs::write(&file, format!("[{APP}]")).unwrap();
        let array = Array::with_file(Vec::new(), Vec::new(), file);
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
        let array = Array::with_file(vec![always], Vec::new(), file.clone());
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
        let array = Array::with_file(Vec::new(), Vec::new(), file.clone());
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
}
