use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use super::*;

type Signer = Issuer<'static, KeyPair>;

fn params(name: &str, is_authority: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["receiver.test".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn root(name: &str) -> (CertificateDer<'static>, Signer) {
    let (params, key) = (params(name, true), KeyPair::generate().unwrap());
    let certificate = params.self_signed(&key).unwrap().der().clone();
    (certificate, Issuer::new(params, key))
}

fn issued(params: CertificateParams, by: &Signer) -> (CertificateDer<'static>, Signer) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap().der().clone();
    (certificate, Issuer::new(params, key))
}

fn verify(
    trusted: &CertificateDer<'static>,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let verifier = Verifier::new(roots, Vec::new(), Arc::new(aws_lc_rs::default_provider())).unwrap();
    let name = ServerName::try_from("receiver.test").unwrap();
    let result = verifier.verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now());
    result.map(|_| ()).map_err(|error| words(&error))
}

#[test]
fn a_chain_is_checked_and_one_that_is_costly_to_check_is_not() {
    let (trusted, authority) = root("root");
    let mut above = authority;
    let mut chain = Vec::new();
    for depth in 0..4 {
        let (certificate, signer) = issued(params(&format!("authority {depth}"), true), &above);
        chain.insert(0, certificate);
        above = signer;
    }
    let (leaf, _) = issued(params("leaf", false), &above);
    let (successor, _) = root("authority 3");
    // An older certificate of one authority, and the root, which need not be sent.
    chain.extend([successor.clone(), trusted.clone()]);
    assert_eq!(verify(&trusted, &leaf, &chain), Ok(()));
    chain.push(root("another").0);
    let refused = verify(&trusted, &leaf, &chain).unwrap_err();
    assert!(refused.contains("sends 7 certificates besides its own, and no more than 6"), "{refused}");
    chain.truncate(4);
    chain.extend([successor, root("authority 3").0]);
    let refused = verify(&trusted, &leaf, &chain).unwrap_err();
    assert!(refused.contains("sends more than 2 authorities of one name"), "{refused}");
    let (enormous, _) = issued(params(&"a".repeat(MAX_CHAIN), false), &above);
    let refused = verify(&trusted, &enormous, &chain[..4]).unwrap_err();
    assert!(refused.contains("bytes, and no more than 32768 are looked at"), "{refused}");
}
