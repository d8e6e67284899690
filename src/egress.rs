//! Where this process may connect to on behalf of an app: which addresses, and how names become addresses.

pub mod address_policy;
pub mod checked;
pub mod inward_names;
pub mod resolver;
