//! The servers that the script started.

use std::path::PathBuf;
use std::time::Duration;

use hookferry::apps::settings::{Sql, Tls};
use secrecy::SecretString;
use tokio::process::Command;

/// The password of every database user; with what a URL would have to escape.
pub const PASSWORD: &str = "p@ss:word/1";
/// How long a look-up may take; on loopback none takes a tenth.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// One server.
pub struct Server {
    pub address: String,
    control: String,
}

impl Server {
    /// POSTGRES, MARIADB or AWS.
    pub fn named(name: &str) -> Self {
        Self {
            address: variable(&format!("HOOKFERRY_TEST_{name}")),
            control: variable(&format!("HOOKFERRY_TEST_{name}_CONTROL")),
        }
    }

    pub async fn stop(&self) {
        self.control(&["stop"]).await;
    }

    pub async fn start(&self, more: &[&str]) {
        self.control(&[&["start"], more].concat()).await;
    }

    async fn control(&self, arguments: &[&str]) {
        let status = Command::new(&self.control).args(arguments).status().await.unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// The table of that name in the database `main`.
    pub fn table(&self, name: &str, username: &str, tls: Tls) -> Sql {
        Sql {
            host: "127.0.0.1".into(),
            port: self.port().parse().unwrap(),
            username: username.into(),
            password: SecretString::from(PASSWORD),
            database: "main".into(),
            tls,
            table: name.parse().unwrap(),
            connections: (0, 3),
        }
    }
}

/// The certificate of the authority that signed the databases'.
pub fn authority() -> PathBuf {
    variable("HOOKFERRY_TEST_AUTHORITY").into()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/interop/servers.sh"))
}
