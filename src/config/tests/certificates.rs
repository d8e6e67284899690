//! The places of trusted certificates.

use crate::config::certificates::{DIRECTORIES, FILE, check};
use crate::config::variables::Reader;

fn checked(environment: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut reader = Reader::default();
    check(&environment, &mut reader);
    (reader.errors, reader.warnings)
}

#[test]
fn a_place_without_a_certificate_is_told_by_its_variable_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let good = dir.path().join("good.pem");
    let key = rcgen::generate_simple_self_signed(["h.test".to_owned()]).unwrap();
    std::fs::write(&good, key.cert.pem()).unwrap();
    let [empty, good] = [&empty, &good].map(|path| path.to_str().unwrap());
    for (name, value) in [
        (FILE, "/nonexistent/\n.pem"),
        (FILE, empty),
        (DIRECTORIES, "/nonexistent"),
        (DIRECTORIES, "/nonexistent:/nonexistent/2"),
    ] {
        let (errors, warnings) = checked(&[(name, value)]);
        let own = |error: &String| error.starts_with(&format!("{name}: \"")) && !error.contains('\n');
        assert!(!errors.is_empty() && errors.iter().all(own) && warnings.is_empty(), "{errors:?}");
    }
    for fine in [&[(FILE, good)][..], &[(FILE, "")], &[(DIRECTORIES, "")], &[]] {
        assert_eq!(checked(fine), (vec![], vec![]), "{fine:?}");
    }
    let (errors, warnings) = checked(&[("AWS_CA_BUNDLE", good)]);
    assert!(errors.is_empty() && warnings[0].contains(FILE), "{errors:?} {warnings:?}");
    let (errors, warnings) = checked(&[(FILE, good), (DIRECTORIES, "/nonexistent")]);
    assert!(errors.is_empty() && warnings[0].starts_with(DIRECTORIES), "{errors:?} {warnings:?}");
}
