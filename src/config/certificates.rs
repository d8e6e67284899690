//! `SSL_CERT_FILE` and `SSL_CERT_DIR`: where trusted certificates are, in place of the system's. Libraries read them by
//! themselves.
//!
//! Where they find none, every TLS connection fails as if the peer's certificate were wrong.

use std::path::PathBuf;

use super::variables::Reader;
use crate::{app, tls};

pub(super) const FILE: &str = "SSL_CERT_FILE";
pub(super) const DIRECTORIES: &str = "SSL_CERT_DIR";
/// What AWS' other SDKs read in their place.
const BUNDLE: &str = "AWS_CA_BUNDLE";

/// Says which of the places hold no certificate that can be used: an error where none does.
pub(super) fn check(environment: &[(String, String)], reader: &mut Reader) {
    if environment.iter().any(|(name, value)| name == BUNDLE && !value.trim().is_empty()) {
        reader.warn(format!("{BUNDLE} has no effect here: {FILE} names the authorities to be trusted, in place of the system's"));
    }
    let mut usable = false;
    let mut wrong = Vec::new();
    for (name, value) in environment.iter().filter(|(name, _)| [FILE, DIRECTORIES].contains(&name.as_str())) {
        let is_file = name == FILE;
        // Of directories there may be several, with colons between them.
        let places =
            if is_file { vec![PathBuf::from(value)] } else { std::env::split_paths(value).collect() };
        for place in places.iter().map(PathBuf::as_path).filter(|place| !place.as_os_str().is_empty()) {
            let (file, directory) = if is_file { (Some(place), None) } else { (None, Some(place)) };
            match tls::check_certificates(file, directory) {
                Ok(()) => usable = true,
                Err(why) => wrong.push(format!("{name}: {} {why}", app::shown(&place.to_string_lossy()))),
            }
        }
    }
    for line in wrong {
        if usable {
            reader.warn(line);
        } else {
            reader.error(format!(
                "{line} (name the certificates of the authorities to be trusted, in PEM, or leave it out for the system's)"
            ));
        }
    }
}
