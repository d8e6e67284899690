//! Whether a receiver can be reached: resolve, check, connect, TLS, and no request.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::task::spawn_blocking;
use url::Host;

use crate::delivery::http::{RequestTarget, Settings, dialled};
use crate::egress::checked::{Checked, NoAddress};
use crate::egress::resolver::Resolve;
use crate::tls;

/// Reaches the host of `url` as a delivery would; gives what it found in words, or what is wrong. Neither
/// holds the URL.
///
/// # Errors
/// Why a delivery would fail.
pub(super) async fn handshake(
    settings: &Settings,
    resolver: Arc<dyn Resolve>,
    url: &str,
    timeout: Duration,
) -> Result<String, String> {
    let target = RequestTarget::parse(url).map_err(|reason| reason.to_string())?;
    let origin = &target.origin;
    let checked = Checked::new(settings.policy.clone(), resolver);
    checked.check_literal(&origin.host).map_err(|refused| refused.to_string())?;
    if settings.proxy.is_some() {
        return Ok("goes through WEBHOOKS_PROXY_URL; not tried".to_owned());
    }
    let addresses = match &origin.host {
        Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        Host::Domain(name) => {
            let looked_up = tokio::time::timeout(timeout, checked.addresses(name)).await;
            let addresses = looked_up.map_err(|_| "its name could not be looked up in time".to_owned())?;
            addresses.map_err(|error| match error {
                NoAddress::Refused(refused) => refused.to_string(),
                NoAddress::Unresolved(unresolved) => unresolved.to_string(),
            })?
        }
    };
    let port = origin.port;
    let connected = spawn_blocking(move || connect(addresses, port, timeout)).await;
    let (mut stream, address) = connected.map_err(|error| error.to_string())??;
    if !origin.https {
        return Ok(format!("connects to {address}, without TLS"));
    }
    let config = Arc::new(tls::configuration(&settings.authorities).map_err(|error| error.to_string())?);
    let name = match &origin.host {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| "its host is no DNS name".to_owned())?,
        Host::Ipv4(_) | Host::Ipv6(_) => ServerName::from(address),
    };
    let shaken = spawn_blocking(move || -> Result<String, String> {
        let bounded = stream.set_read_timeout(Some(timeout)).and(stream.set_write_timeout(Some(timeout)));
        bounded.map_err(|error| error.to_string())?;
        let mut session = ClientConnection::new(config, name).map_err(|error| tls::words(&error))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).map_err(|error| tls_words(&error))?;
        }
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        Ok(format!("{version} with {address}"))
    });
    match shaken.await {
        Ok(shaken) => shaken,
        Err(error) => Err(error.to_string()),
    }
}

/// Connects to the first of a host's addresses that takes it: a delivery falls back on the next one too, as where this
/// machine has no IPv6.
fn connect(addresses: Vec<IpAddr>, port: u16, timeout: Duration) -> Result<(TcpStream, IpAddr), String> {
    let mut failed = Vec::new();
    for address in dialled(addresses) {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), timeout) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failed.push(format!("cannot connect to {address}: {error}")),
        }
    }
    if failed.is_empty() { Err("its name has no address".to_owned()) } else { Err(failed.join("; ")) }
}

fn tls_words(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or_else(|| format!("the TLS handshake broke off: {error}"), tls::words)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Config;
    use crate::egress::resolver::Lookup;

    #[derive(Debug)]
    struct Found(Vec<IpAddr>);

    impl Resolve for Found {
        fn resolve<'a>(&'a self, _name: &'a str) -> Lookup<'a> {
            let found = self.0.clone();
            Box::pin(async move { Ok(found) })
        }
    }

    #[tokio::test]
    async fn a_receiver_that_one_of_its_addresses_leads_to_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://receiver.test:{}/", listener.local_addr().unwrap().port());
        let variables = [
            ("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo"),
            ("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Config::from_env(variables).unwrap().http;
        let reach = async |found: &[&str]| {
            let found = Found(found.iter().map(|address| address.parse().unwrap()).collect());
            handshake(&settings, Arc::new(found), &url, Duration::from_secs(5)).await
        };
        let words = reach(&["::1", "127.0.0.2", "127.0.0.1"]).await.unwrap();
        assert_eq!(words, "connects to 127.0.0.1, without TLS");
        let why = reach(&["::1", "127.0.0.2"]).await.unwrap_err();
        assert!(why.contains("to ::1: ") && why.contains("to 127.0.0.2: "), "{why}");
    }
}
