use super::*;

#[test]
fn retry_after_is_read_in_both_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Some(Duration::ZERO));
    assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
    assert_eq!(retry_after("7.5", now), Some(Duration::from_secs(8)), "rounded up");
    assert_eq!(retry_after("7.0", now), Some(Duration::from_secs(7)));
    for nonsense in ["", "-1", "soon", "1.", ".5", "1.5.5", "1e3"] {
        assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
    }
}
