//! Signatures, held against values that other programs computed and against HMAC's own definition.

use bytes::Bytes;
use hookferry::job::{Job, SignatureError, sign};
use proptest::prelude::*;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// Secret, message, HMAC-SHA256: the first two from RFC 4231, the others by OpenSSL and by Python's
/// `hmac`. A key of exactly a block, of one byte more (which is hashed first) and of two blocks.
fn known() -> [(String, Vec<u8>, &'static str); 8] {
    let text = |secret: &str, message: &str| (secret.to_owned(), message.as_bytes().to_vec());
    let with = |(secret, message), mac| (secret, message, mac);
    [
        with(
            text(&"\u{b}".repeat(20), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        with(
            text("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        with(text("", ""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"),
        with(
            text(&"k".repeat(64), "block"),
            "1b7ee2f78bbad5f9d29e0b4e5f639ae046d13e1763f1ebc7a439089c128f294a",
        ),
        with(
            text(&"k".repeat(65), "block and one"),
            "8bafdf2cef38dede7de79e2ab7a36f7011569db51ce8670a6834983e2f99b23e",
        ),
        with(
            text(&"k".repeat(131), "Test Using Larger Than Block-Size Key - Hash Key First"),
            "70e4b005732fa7ff79392aa24fb240159b925dbc9f1398420c0f45e6763dcf14",
        ),
        with(
            ("пароль💩".to_owned(), (0..=255).collect()),
            "5094f2d297ac64d02d82ca124ef3a680340c9fe7afff902dfe261e74b6ce4b87",
        ),
        with(
            text("app-secret", r#"{"a":"\ud800"}"#),
            "a6dfd8a563fe9c103619b75973ef96c3b04b5c49a89b27859b6678980576844b",
        ),
    ]
}

fn job(payload: &[u8], signature: &str) -> Job {
    Job {
        app_key: String::new(),
        app_id: String::new(),
        payload: Bytes::copy_from_slice(payload),
        signature: signature.to_owned(),
        sender_secret: None,
    }
}

fn verify(payload: &[u8], signature: &str, secret: &str) -> Result<(), SignatureError> {
    job(payload, signature).verify(&SecretString::from(secret))
}

/// HMAC as RFC 2104 defines it, over the hash alone.
pub fn hmac(secret: &[u8], message: &[u8]) -> String {
    let mut key = if secret.len() > 64 { Sha256::digest(secret).to_vec() } else { secret.to_vec() };
    key.resize(64, 0);
    let padded = |pad: u8| key.iter().map(move |byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::digest([padded(0x36), message.to_vec()].concat());
    hex::encode(Sha256::digest([padded(0x5c), inner.to_vec()].concat()))
}

#[test]
fn signatures_are_those_of_the_rfc_and_of_other_programs() {
    for (secret, message, mac) in known() {
        assert_eq!(sign(&SecretString::from(secret.as_str()), [message.as_slice()]), mac);
        assert_eq!(hmac(secret.as_bytes(), &message), mac, "the oracle itself");
        assert_eq!(verify(&message, mac, &secret), Ok(()));
    }
}

#[test]
fn what_is_no_signature_is_refused_and_the_case_of_its_digits_is_no_matter() {
    let (secret, message, mac) = &known()[7];
    assert_eq!(verify(message, &mac.to_uppercase(), secret), Ok(()));
    let doubled = mac.repeat(2);
    for wrong in [
        "",
        "a6",
        &mac[..63],
        &mac[..62],
        &mac[2..],
        &doubled,
        &format!("{mac}00"),
        &format!(" {mac}"),
        &format!("{mac}\n"),
        &format!("0x{mac}"),
        &format!("sha256={mac}"),
        &mac.replace('a', "ａ"),
        &"0".repeat(64),
    ] {
        assert_eq!(verify(message, wrong, secret), Err(SignatureError::Mismatch), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn a_signature_is_hmac_and_holds_for_its_bytes_and_secret_alone(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        secret in ".{0,150}",
        flipped in any::<(prop::sample::Index, u8)>(),
    ) {
        let signature = sign(&SecretString::from(secret.as_str()), [payload.as_slice()]);
        prop_assert_eq!(&signature, &hmac(secret.as_bytes(), &payload));
        prop_assert_eq!(verify(&payload, &signature, &secret), Ok(()));
        // One bit elsewhere, in the payload or in the signature.
        let (place, bit) = (flipped.0, 1 << (flipped.1 % 8));
        if !payload.is_empty() {
            let mut other = payload.clone();
            other[place.index(payload.len())] ^= bit;
            prop_assert_eq!(verify(&other, &signature, &secret), Err(SignatureError::Mismatch));
        }
        let mut other = hex::decode(&signature).unwrap();
        other[place.index(32)] ^= bit;
        prop_assert_eq!(verify(&payload, &hex::encode(other), &secret), Err(SignatureError::Mismatch));
        // Not a zero byte: HMAC pads a short key with those.
        prop_assert_eq!(verify(&payload, &signature, &format!("{secret}x")), Err(SignatureError::Mismatch));
        prop_assert_eq!(verify(&[&payload[..], b" "].concat(), &signature, &secret), Err(SignatureError::Mismatch));
    }

    #[test]
    fn a_signature_over_pieces_is_that_over_the_whole(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5),
    ) {
        let secret = SecretString::from("s");
        let whole = pieces.concat();
        prop_assert_eq!(
            sign(&secret, pieces.iter().map(Vec::as_slice)), sign(&secret, [whole.as_slice()])
        );
    }
}
