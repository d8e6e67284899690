//! The hash by which entries are found without a copy of their names. It is the same in every process of one release,
//! and not to be stored.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The hash of a value.
pub(crate) fn of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
