//! The digests that SDKs verify.

use md5::{Digest, Md5};

use crate::fifo::{Attribute, AttributeValue};

/// MD5 of a body, lower-case hex.
#[must_use]
pub fn of_body(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// MD5 of attributes in order of name: each name, type and value with its length before it, and a
/// byte for how the value travels (SQS developer guide, "Calculating the MD5 message digest").
#[must_use]
pub fn of_attributes<'a>(attributes: impl Iterator<Item = (&'a String, &'a Attribute)>) -> Option<String> {
    let mut md5 = Md5::new();
    let mut any = false;
    let part = |md5: &mut Md5, bytes: &[u8]| {
        md5.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        md5.update(bytes);
    };
    for (name, attribute) in attributes {
        any = true;
        part(&mut md5, name.as_bytes());
        part(&mut md5, attribute.data_type.as_bytes());
        match &attribute.value {
            AttributeValue::Text(text) => {
                md5.update([1]);
                part(&mut md5, text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                md5.update([2]);
                part(&mut md5, bytes);
            }
        }
    }
    any.then(|| hex::encode(md5.finalize()))
}
