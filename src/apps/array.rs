//! Apps from the environment and from a file that is reloaded when it changes.

mod list;
mod variables;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::reading::Reading;
use super::{Apps, FRESH_FOR, Fresh, LookUp, LookUpError, Observer, log};
use crate::app::{App, Remark, Severity};
pub use list::{AppsFile, ListError, Listed, parse};
pub use variables::Variables;

/// How often the file is looked at. By time stamp and size: that works on every kind of mount.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// How often it is said again that the file cannot be read.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// As many remarks are logged when apps are loaded; the apps of one file can be thousands.
const MAX_LOGGED: usize = 100;

/// Apps by key; a clone shares them.
#[derive(Clone, Debug)]
pub struct Array {
    apps: Arc<ArcSwap<Known>>,
    file: Option<Arc<File>>,
    observer: Observer,
    /// What was said of the apps as they are now, so that it is not said again.
    said: Arc<Mutex<Logged>>,
}

/// What is to be said of the apps as they are now.
#[derive(Debug, Default)]
struct Logged {
    all: HashSet<String>,
    /// The first of those that are no mere notes, and how many there are.
    first: Vec<String>,
    warnings: usize,
}

/// All apps as they are now.
#[derive(Debug, Default)]
struct Known {
    /// What a key stands for: an app, or why it cannot be used.
    by_key: HashMap<String, Result<Arc<App>, Arc<str>>>,
    /// Why those of these ids cannot be used whose keys are not known.
    without_key: HashMap<String, Arc<str>>,
}

/// The file that the apps beyond the environment's come from.
#[derive(Debug)]
struct File {
    source: AppsFile,
    /// The environment's apps, which no file replaces.
    always: Listed,
    seen: Mutex<Seen>,
    reading: Reading,
    /// One read at a time, so that none takes over what is older than what another did: a signal and a look may ask for it
    /// in the same moment.
    turn: tokio::sync::Mutex<()>,
}

/// What a list of apps comes to.
struct Judged {
    /// How many of a file can be used, and how many cannot.
    of_file: (usize, usize),
    known: Known,
    remarks: Vec<Remark>,
}

/// What is known of the file.
#[derive(Debug, Default)]
struct Seen {
    /// The version that was read last; what could not be read is read again at each look.
    version: Version,
    /// Why the last read came to nothing, if it did.
    error: Option<Arc<str>>,
    /// When that was said.
    said_at: Option<Instant>,
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
    /// Time stamp, size, inode, and the time of its last change of owner or mode.
    Of(SystemTime, u64, u64, (i64, i64)),
}

impl Array {
    /// Of these apps; the first of two with one key wins.
    #[must_use]
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        Self::of(Listed { apps: apps.into_iter().collect(), unusable: Vec::new() }, None)
    }

    /// Of the apps `always`, those that the environment tells of, and those of `file`, if there is one:
    /// those that it held when it was read, and later those that it holds then.
    #[must_use]
    pub fn with_file(always: Listed, file: Option<(AppsFile, Listed)>) -> Self {
        let Some((source, more)) = file else { return Self::of(always, None) };
        let all = always.clone().and(more);
        let file = File {
            source,
            always,
            seen: Mutex::default(),
            reading: Reading::default(),
            turn: tokio::sync::Mutex::default(),
        };
        Self::of(all, Some(Arc::new(file)))
    }

    /// Tells `observer` of each look at the file: whether it could be read, and what was answered.
    #[must_use]
    pub fn observed_by(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    fn of(apps: Listed, file: Option<Arc<File>>) -> Self {
        let observer = Observer::default();
        let array = Self { apps: Arc::default(), file, observer, said: Arc::default() };
        array.take_over(Judged::of(apps, (0, 0)));
        array
    }

    /// Looks at the file at once and then until `shutdown`, and takes it over when it has changed. A
    /// broken file keeps the last good apps; an app of it that cannot be used is left out alone.
    pub async fn watch(self, shutdown: CancellationToken) {
        let Some(file) = &self.file else { return };
        loop {
            self.look(file).await;
            if shutdown.run_until_cancelled(tokio::time::sleep(RELOAD_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// What is wrong with the apps that are in force, and first of all that the file cannot be read: the first of it,
    /// and how much there is.
    #[must_use]
    pub fn warnings(&self) -> (Vec<String>, usize) {
        let unread = self.file.as_ref().and_then(|file| file.unread());
        let unread =
            unread.map(|why| format!("{why}; the last good apps stay, and what they do not know waits"));
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let count = said.warnings + usize::from(unread.is_some());
        (unread.into_iter().chain(said.first.iter().cloned()).collect(), count)
    }

    /// All that can be used, as they are now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<App>> {
        self.apps.load().by_key.values().filter_map(|app| app.as_ref().ok()).map(Arc::clone).collect()
    }

    /// Reads the file again, changed or not.
    pub async fn reload(&self) {
        if let Some(file) = &self.file {
            let _turn = file.turn.lock().await;
            let version = version(&file.source.path).await;
            self.load(file, version).await;
        }
    }

    /// Why the app with this id cannot be used, if it is one whose key is not known either.
    pub(super) fn unusable(&self, app_id: &str) -> Option<String> {
        self.apps.load().without_key.get(app_id).map(|why| why.as_ref().to_owned())
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
            let turn = file.turn.lock().await;
            let version = version(&file.source.path).await;
            // At the first look it may have changed since it was read, while the queue was awaited.
            let is_other = {
                let seen = file.seen();
                seen.version != version || seen.error.is_some()
            };
            if is_other {
                array.load(&file, version).await;
            }
            drop(turn);
            let mut seen = file.seen();
            seen.looked_at = Some(looked_at);
            seen.look = None;
            looked_at
        };
        let look = look.boxed().shared();
        seen.look = look.downgrade();
        look
    }

    async fn load(&self, file: &Arc<File>, version: Version) {
        let path = &file.source.path;
        let own = Arc::clone(file);
        match file.reading.apart(move || own.read()).await {
            Ok(judged) => {
                let (apps, left_out) = judged.of_file;
                info!(file = %path.display(), apps, left_out, "apps loaded");
                self.take_over(judged);
                {
                    let mut seen = file.seen();
                    (seen.version, seen.error, seen.said_at) = (version, None, None);
                }
                self.observer.tell(LookUp::Asked);
            }
            Err(error) => {
                // At each look: the apps that are known serve meanwhile.
                self.observer.tell(LookUp::Stale);
                let mut seen = file.seen();
                let now = Instant::now();
                let is_new = seen.version != version || seen.error.is_none();
                if is_new || seen.said_at.is_none_or(|said_at| now.duration_since(said_at) >= SAID_EVERY) {
                    error!(file = %path.display(), %error, "APPS_FILE cannot be read; the last good apps stay, and what they do not know waits");
                    seen.said_at = Some(now);
                }
                (seen.version, seen.error) = (version, Some(error.to_string().into()));
            }
        }
    }

    fn take_over(&self, judged: Judged) {
        let Judged { known, remarks, .. } = judged;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let new = remarks.iter().filter(|remark| !said.all.contains(&remark.text));
        for remark in new.clone().take(MAX_LOGGED) {
            log(remark);
        }
        let rest = new.count().saturating_sub(MAX_LOGGED);
        if rest > 0 {
            warn!(remarks = rest, "and more is to be said of the apps: see hookferry check");
        }
        let warned = || remarks.iter().filter(|remark| remark.severity != Severity::Note);
        *said = Logged {
            first: warned().take(MAX_LOGGED).map(|remark| remark.text.clone()).collect(),
            warnings: warned().count(),
            all: remarks.iter().map(|remark| remark.text.clone()).collect(),
        };
        drop(said);
        self.apps.store(Arc::new(known));
    }
}

impl Judged {
    fn of(listed: Listed, of_file: (usize, usize)) -> Self {
        let remarks = listed.remarks();
        Self { of_file, known: Known::of(listed), remarks }
    }
}

impl File {
    /// Its apps as they are now, and those of the environment.
    fn read(&self) -> Result<Judged, ListError> {
        let listed = self.source.read()?;
        let of_file = (listed.apps.len(), listed.unusable.len());
        Ok(Judged::of(self.always.clone().and(listed), of_file))
    }

    /// Why it cannot be read, if that is so.
    fn unread(&self) -> Option<String> {
        let why = self.seen().error.clone()?;
        Some(format!("APPS_FILE {} cannot be read: {why}", self.source.path.display()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Apps for Array {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        match self.apps.load().by_key.get(key) {
            Some(Ok(app)) => Ok(Some(Arc::clone(app))),
            Some(Err(why)) => Err(LookUpError::Unusable(why.as_ref().to_owned())),
            None => Ok(None),
        }
    }

    fn unusable(&self, app_id: &str) -> Option<String> {
        Self::unusable(self, app_id)
    }

    /// The file is looked at, whichever key it is, at most once in [`FRESH_FOR`]. While it cannot be read, nobody knows
    /// what its apps are now.
    async fn find_fresh(&self, key: &str) -> Result<Fresh, LookUpError> {
        let now = Instant::now();
        let asked_at = match &self.file {
            None => now,
            Some(file) => {
                let last = file.seen().looked_at.filter(|at| now.duration_since(*at) < FRESH_FOR);
                let looked_at = match last {
                    Some(last) => last,
                    None => self.look(file).await,
                };
                if let Some(why) = file.unread() {
                    self.observer.tell(LookUp::Failed);
                    return Err(LookUpError::Unreachable(why));
                }
                self.observer.tell(LookUp::Asked);
                looked_at
            }
        };
        Ok(Fresh { app: self.find_by_key(key).await?, asked_at })
    }
}

impl Known {
    fn of(listed: Listed) -> Self {
        let mut known = Self::default();
        for app in listed.apps {
            known.by_key.entry(app.key.clone()).or_insert_with(|| Ok(Arc::new(app)));
        }
        for unusable in listed.unusable {
            let why: Arc<str> = unusable.to_string().into();
            match (unusable.key, unusable.id) {
                (Some(key), _) => drop(known.by_key.entry(key).or_insert(Err(why))),
                (None, Some(id)) => drop(known.without_key.entry(id).or_insert(why)),
                (None, None) => {}
            }
        }
        known
    }
}

async fn version(file: &Path) -> Version {
    let Ok(metadata) = tokio::fs::metadata(file).await else { return Version::Absent };
    match metadata.modified() {
        Ok(modified) => {
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            Version::Of(modified, metadata.len(), metadata.ino(), changed)
        }
        Err(_) => Version::Absent,
    }
}

#[cfg(test)]
mod tests;
