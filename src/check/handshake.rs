//! Whether a receiver can be reached: resolve, check, connect, TLS, and no request.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::task::spawn_blocking;
use url::Host;

use crate::delivery::http::{RequestTarget, Settings};
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
    let address = match &origin.host {
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
        Host::Domain(name) => {
            let looked_up = tokio::time::timeout(timeout, checked.addresses(name)).await;
            let addresses = looked_up.map_err(|_| "its name could not be looked up in time".to_owned())?;
            let addresses = addresses.map_err(|error| match error {
                NoAddress::Refused(refused) => refused.to_string(),
                NoAddress::Unresolved(unresolved) => unresolved.to_string(),
            })?;
            *addresses.first().ok_or("its name has no address")?
        }
    };
    let address = SocketAddr::new(address, origin.port);
    if !origin.https {
        let connected = spawn_blocking(move || TcpStream::connect_timeout(&address, timeout)).await;
        return match connected {
            Ok(Ok(_)) => Ok(format!("connects to {}, without TLS", address.ip())),
            Ok(Err(error)) => Err(format!("cannot connect to {}: {error}", address.ip())),
            Err(error) => Err(error.to_string()),
        };
    }
    let config = Arc::new(tls::configuration(&settings.authorities).map_err(|error| error.to_string())?);
    let name = match &origin.host {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| "its host is no DNS name".to_owned())?,
        Host::Ipv4(_) | Host::Ipv6(_) => ServerName::from(address.ip()),
    };
    let shaken = spawn_blocking(move || -> Result<String, String> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)
            .map_err(|error| format!("cannot connect to {}: {error}", address.ip()))?;
        let bounded = stream.set_read_timeout(Some(timeout)).and(stream.set_write_timeout(Some(timeout)));
        bounded.map_err(|error| error.to_string())?;
        let mut session = ClientConnection::new(config, name).map_err(|error| tls::words(&error))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).map_err(|error| tls_words(&error))?;
        }
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
        Ok(format!("{version} with {}", address.ip()))
    });
    match shaken.await {
        Ok(shaken) => shaken,
        Err(error) => Err(error.to_string()),
    }
}

fn tls_words(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    inner.map_or_else(|| format!("the TLS handshake broke off: {error}"), tls::words)
}
