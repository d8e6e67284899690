//! Variables whose values are no Unicode.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::config::not_unicode;

#[test]
fn what_is_no_unicode_is_told_by_its_name_and_never_shown() {
    let environment = [
        ("SOKETI_DEFAULT_APP_SECRET", &b"hush\xe9"[..]),
        ("APPS", b"\xff\xfe["),
        ("AWS_SECRET_ACCESS_KEY", b"hush\xe9"),
        ("WEBHOOKS_COLOUR", b"hush\xe9"),
        ("LS_COLORS", b"\xe9"),
        ("DEFAULT_APP_KEY", "caf\u{e9}".as_bytes()),
    ];
    let environment =
        environment.map(|(name, value)| (OsString::from(name), OsString::from_vec(value.to_vec())));
    let (errors, warnings) = not_unicode(environment);
    let names = |lines: &[String]| {
        lines.iter().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&errors), ["APPS", "AWS_SECRET_ACCESS_KEY", "SOKETI_DEFAULT_APP_SECRET"]);
    assert_eq!(names(&warnings), ["WEBHOOKS_COLOUR"]);
    assert!(errors[2].contains("byte 5 "), "{errors:?}");
    assert!(!errors.concat().contains("hush") && !warnings.concat().contains("hush"));
}
