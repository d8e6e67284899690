//! TLS: who is trusted, and what a failed handshake means in words.
//!
//! The system's trust store and the operator's own authorities, TLS 1.2 and 1.3, HTTP/2 by ALPN.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};

use crate::shown::cut;

/// At most this many characters of a library's own words are shown.
const MAX_WORDS: usize = 200;

/// Certificates that are trusted besides the system's.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads a file of certificates in PEM.
    ///
    /// # Errors
    /// What is wrong with it, without its name.
    pub fn read(file: &Path) -> Result<Self, String> {
        let read = CertificateDer::pem_file_iter(file).map_err(|error| format!("cannot be read: {error}"))?;
        let found: Result<Vec<_>, _> = read.collect();
        let found = found.map_err(|error| format!("is not in PEM: {error}"))?;
        if found.is_empty() {
            return Err("holds no certificate in PEM".to_owned());
        }
        let mut store = RootCertStore::empty();
        for (n, certificate) in found.iter().enumerate() {
            store
                .add(certificate.clone())
                .map_err(|error| format!("certificate {} cannot be used: {error}", n + 1))?;
        }
        Ok(Self(found))
    }
}

/// Looks whether a file, or the files of a directory, hold a certificate that can be trusted.
///
/// # Errors
/// Why none does, without the name of the place.
pub fn check_certificates(file: Option<&Path>, directory: Option<&Path>) -> Result<(), String> {
    let found = rustls_native_certs::load_certs_from_paths(file, directory);
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(found.certs);
    match found.errors.first() {
        _ if usable > 0 => Ok(()),
        Some(error) => {
            Err(format!("holds no certificate that can be used: {}", cut(&error.to_string(), MAX_WORDS)))
        }
        None => Err("holds no certificate in PEM that can be used".to_owned()),
    }
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The system has no certificates, and none were given.
    #[error("there is no certificate to trust: install the system's CA certificates or set WEBHOOKS_CA_FILE")]
    NoAuthority,
    /// rustls refuses the configuration.
    #[error("TLS cannot be set up: {0}")]
    Refused(String),
}

/// What every TLS connection is made with.
pub(crate) fn configuration(authorities: &Authorities) -> Result<ClientConfig, SetUpError> {
    let unusable = |error: &dyn std::fmt::Display| SetUpError::Refused(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    // Some of a system's certificates are too odd to parse; the others are none the worse for it.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(authorities.0.iter().cloned());
    if roots.is_empty() {
        return Err(SetUpError::NoAuthority);
    }
    let verifier = Verifier::new(roots, authorities.0.clone(), Arc::clone(&provider))
        .map_err(|error| unusable(&error))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Certificates that a receiver may send besides its own. Chains have one to three, and one more where an authority is
/// signed by an older one.
const MAX_INTERMEDIATES: usize = 6;
/// Of these, so many may be of one name: an authority and its successor. webpki tries every order of those of one
/// name, which takes 40 ms of processor time for a hundred, in which nothing else is done on that thread.
const MAX_NAMESAKES: usize = 2;
/// All that a receiver sends of certificates, in bytes. A chain has 5,000, one for hundreds of names 20,000.
const MAX_CHAIN: usize = 32 * 1024;

/// rustls' own verifier, with three additions: a certificate that is itself in `WEBHOOKS_CA_FILE` is
/// trusted even where it calls itself an authority, as self-signed ones usually do; a self-signed
/// one that is not is called so; and a chain that is costly to check is refused unchecked.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

/// The certificate was issued by itself and is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("self-signed")]
struct SelfSigned;

/// The receiver sends more certificates than any chain has.
#[derive(Debug, thiserror::Error)]
#[error("too many certificates")]
struct TooCostly(String);

impl TooCostly {
    fn check(certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Self> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(Self(format!(
                "{} certificates besides its own, and no more than {MAX_INTERMEDIATES} are looked at",
                intermediates.len()
            )));
        }
        let size = certificate.len() + intermediates.iter().map(|one| one.len()).sum::<usize>();
        if size > MAX_CHAIN {
            return Err(Self(format!("{size} bytes, and no more than {MAX_CHAIN} are looked at")));
        }
        // What cannot be parsed leads nowhere.
        let parsed: Vec<_> =
            intermediates.iter().filter_map(|one| webpki::EndEntityCert::try_from(one).ok()).collect();
        let namesakes = |name| parsed.iter().filter(|other| other.subject() == name).count();
        if parsed.iter().any(|one| namesakes(one.subject()) > MAX_NAMESAKES) {
            return Err(Self(format!("more than {MAX_NAMESAKES} authorities of one name")));
        }
        Ok(())
    }
}

impl Verifier {
    fn new(
        roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { inner, own })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        TooCostly::check(certificate, intermediates).map_err(|costly| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(costly))))
        })?;
        let Err(error) = self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now) else {
            return Ok(ServerCertVerified::assertion());
        };
        let Error::InvalidCertificate(reason) = &error else { return Err(error) };
        let parsed = webpki::EndEntityCert::try_from(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let is_authority = is_authority(reason);
        // webpki looks at the dates before it looks at this, so what is left to check is the name.
        if is_authority && self.own.iter().any(|own| own == certificate) {
            return parsed
                .verify_is_valid_for_subject_name(name)
                .map(|()| ServerCertVerified::assertion())
                .map_err(|_| Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        let is_unknown = matches!(reason, CertificateError::UnknownIssuer | CertificateError::BadSignature);
        if (is_authority || is_unknown) && parsed.issuer() == parsed.subject() {
            let reason = CertificateError::Other(OtherError(Arc::new(SelfSigned)));
            return Err(Error::InvalidCertificate(reason));
        }
        Err(error)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether a certificate was refused because it is an authority's and no server's.
fn is_authority(reason: &CertificateError) -> bool {
    let CertificateError::Other(other) = reason else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// What went wrong, and what can be done about it.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            format!(
                "the receiver has no protocol version or cipher in common with TLS 1.2 and 1.3 here ({error})"
            )
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the receiver asks for a client certificate, and there is none".to_owned()
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the receiver agrees on no protocol by ALPN: it has to speak HTTP/1.1 or HTTP/2".to_owned()
        }
        Error::InvalidMessage(_) => {
            format!("the receiver does not answer in TLS: is this an http port? ({error})")
        }
        other => other.to_string(),
    }
}

fn certificate(reason: &CertificateError) -> String {
    if let CertificateError::Other(other) = reason
        && let Some(TooCostly(what)) = other.0.downcast_ref()
    {
        return format!("the receiver sends {what}: it has to send the chain of its own certificate alone");
    }
    let date = |at: &UnixTime| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.as_secs()));
    match reason {
        CertificateError::Expired => "the certificate has expired: the receiver has to renew it".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate expired on {}: the receiver has to renew it", date(not_after))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet: is a clock wrong?".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}: is a clock wrong?", date(not_before))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate is for another host name: the URL has to use a name that is in it".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the certificate comes from an unknown authority: if it is a private one add it with WEBHOOKS_CA_FILE, \
             else the receiver has to send its intermediate certificates too"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "the certificate names a trusted authority but was signed with another key: if the authority was made anew, \
             add its new certificate with WEBHOOKS_CA_FILE"
                .to_owned()
        }
        CertificateError::Other(other) if other.0.is::<SelfSigned>() => {
            "the certificate is self-signed: add it with WEBHOOKS_CA_FILE, or have the receiver use one of a known authority"
                .to_owned()
        }
        CertificateError::Revoked => "the certificate has been revoked".to_owned(),
        other => format!("the certificate cannot be accepted: {other}"),
    }
}

#[cfg(test)]
mod tests;
