//! An error and what it comes from.

use std::error::Error;
use std::io;

/// An error and all that it comes from, the outermost first. An I/O error hides the one that it wraps.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as &'a (dyn Error + 'static)).or_else(|| error.source())
    })
}

/// The innermost cause: the outer errors only say that something failed, and reqwest's own text holds the URL.
#[cfg(feature = "worker")]
pub(crate) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}
