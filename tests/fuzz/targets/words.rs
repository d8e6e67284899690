//! What an error may say.

/// Asserts that an error's text is `prefix` and one of `whole`, or fixed words with a place at most: it quotes
/// nothing.
pub fn assert_plain(text: &str, prefix: &str, whole: &[String]) {
    let rest = text.strip_prefix(prefix).expect(text);
    let rest = &*rest.replace(" (one is there in another spelling: case and underscores count)", "");
    if whole.iter().any(|words| words == rest) {
        return;
    }
    let rest = ["it is no JSON", "it ends too early", "a member is missing or of the wrong type"]
        .iter()
        .find_map(|words| rest.strip_prefix(words))
        .expect(text);
    let place = rest.replace(|c: char| c.is_ascii_digit(), "");
    assert!(matches!(&*place, "" | " (line , column )"), "{text}");
}
