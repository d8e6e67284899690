//! Whose events they are, and under which secret they are signed.

use std::cell::Cell;

use anyhow::anyhow;
use secrecy::ExposeSecret;
use tracing::warn;

use crate::app::{App, shown};
use crate::config::{self, AppsConfig, Origin, Source, WELL_KNOWN_SECRET};
use crate::producer::Signer;

/// The signer, or why there is none: jobs that are signed already need none.
pub(super) struct Signing {
    signer: Result<Signer, String>,
    /// Whether the secret is everyone's, and nobody has been told so yet.
    well_known: Cell<bool>,
}

impl Signing {
    /// For the app of that id and key: by default that of `DEFAULT_APP_*`.
    pub(super) fn new(apps: &AppsConfig, id: Option<&str>, key: Option<&str>) -> Self {
        let environment = config::effective(config::environment(), None);
        let set = |name: &str| {
            environment.iter().any(|setting| setting.name == name && setting.origin != Origin::Default)
        };
        let known = apps.known();
        let default = matches!(apps.source, Source::Array).then_some(&apps.default);
        let of_key = |key: &str| known.apps.iter().find(|app| app.key == key);
        let of_default_key = default.and_then(|default| of_key(&default.key));
        let found = match (key, id) {
            (Some(key), _) => of_key(key),
            (None, Some(id)) => known.apps.iter().find(|app| app.id == id).or(of_default_key),
            (None, None) => of_default_key,
        };
        let given = |app: &App| {
            let id = id.unwrap_or(&app.id);
            Signer::new(id, key.unwrap_or(&app.key), app.secret.expose_secret())
        };
        // With no key of its own, the secret of the environment is for whatever key is named.
        let for_any_key = set("DEFAULT_APP_SECRET") && !set("DEFAULT_APP_KEY");
        let app = found.or(default.filter(|_| for_any_key));
        let well_known = app.is_some_and(|app| app.secret.expose_secret() == WELL_KNOWN_SECRET);
        let signer = app.map(given).ok_or_else(|| {
            let unusable = known.unusable.iter().find(|app| key.is_some() && app.key.as_deref() == key);
            unusable.map_or_else(|| unknown(key), ToString::to_string)
        });
        Self { signer, well_known: Cell::new(well_known) }
    }

    /// The signer of an event.
    pub(super) fn signer(&self) -> anyhow::Result<&Signer> {
        if self.well_known.take() {
            warn!(
                "events are signed under soketi's well-known secret, which everyone knows; set DEFAULT_APP_SECRET, or name an app of APPS_FILE with --app-key"
            );
        }
        self.signer.as_ref().map_err(|why| anyhow!("{why}"))
    }
}

#[cfg(test)]
impl From<Signer> for Signing {
    fn from(signer: Signer) -> Self {
        Self { signer: Ok(signer), well_known: Cell::new(false) }
    }
}

fn unknown(key: Option<&str>) -> String {
    let whose = key.map_or_else(|| "these events".to_owned(), |key| format!("the app key {}", shown(key)));
    format!(
        "no secret is known for {whose}: set DEFAULT_APP_KEY and DEFAULT_APP_SECRET, or put the app into APPS or APPS_FILE (the apps of a database are not looked up: APP_MANAGER_DRIVER=array)"
    )
}
