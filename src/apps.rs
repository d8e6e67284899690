//! The port to the app sources: which app has this key?

pub mod array;

use std::sync::Arc;

use crate::app::App;

/// The source could not be asked. A job whose app cannot be looked up is retried, never given up
/// for it inside its window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// Somewhere apps are kept.
pub trait Apps: Send + Sync + 'static {
    /// Finds the app with this key; `None` if the source says that there is none.
    fn find_by_key(&self, key: &str) -> impl Future<Output = Result<Option<Arc<App>>, Unreachable>> + Send;
}
