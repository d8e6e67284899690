//! Certificates of every kind, and servers that show them.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

/// An authority of this test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, and what it is checked against.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pub pem: String,
}

pub fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

impl Authority {
    pub fn new() -> Self {
        Self::named(&crate::world::unique())
    }

    pub fn named(name: &str) -> Self {
        let mut params = params(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { pem: certificate.pem(), chain: vec![certificate.der().clone()], key }
    }

    /// A certificate for this machine.
    pub fn local(&self) -> Identity {
        self.sign(&params(&["127.0.0.1", "localhost"], "local"))
    }

    /// One that expired long ago.
    pub fn expired(&self) -> Identity {
        let mut params = params(&["127.0.0.1"], "expired");
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 3);
        self.sign(&params)
    }

    pub fn file(&self, dir: &tempfile::TempDir) -> PathBuf {
        file(dir, &self.pem)
    }
}

/// A certificate of its own making; `authority`: it says that it may issue others, as those of
/// `openssl req -x509` do.
pub fn self_signed(name: &str, authority: bool) -> Identity {
    let mut params = params(&[name], "self-signed");
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity { pem: certificate.pem(), chain: vec![certificate.der().clone()], key }
}

pub fn file(dir: &tempfile::TempDir, pem: &str) -> PathBuf {
    let path = dir.path().join(format!("{}.pem", crate::world::unique()));
    std::fs::write(&path, pem).unwrap();
    path
}

/// Which protocol a server speaks.
#[derive(Clone, Copy, Debug)]
pub enum Speaks {
    Tls12,
    Tls13,
    /// Nothing else.
    Http2,
    /// Whatever the client offers of HTTP/2 and HTTP/1.1.
    Either,
}

impl Identity {
    pub fn acceptor(&self, speaks: Speaks) -> TlsAcceptor {
        let versions: &[_] = match speaks {
            Speaks::Tls12 => &[&TLS12],
            Speaks::Tls13 => &[&TLS13],
            Speaks::Http2 | Speaks::Either => &[&TLS12, &TLS13],
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        config.alpn_protocols = match speaks {
            Speaks::Http2 => vec![b"h2".to_vec()],
            Speaks::Either => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Speaks::Tls12 | Speaks::Tls13 => vec![b"http/1.1".to_vec()],
        };
        TlsAcceptor::from(Arc::new(config))
    }
}
