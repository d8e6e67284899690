//! Quotes that are left around a secret or a part of credentials: a file given to `docker run --env-file` keeps them.
//!
//! For values that hold no quotes of their own. Files of variables, soketi's variables and values for `${NAME}` have
//! rules of their own, each where it is read: there the quotes are part of a syntax.

/// A text without the blanks around it and then without one pair of double or of single quotes.
pub fn within_quotes(text: &str) -> &str {
    let text = text.trim();
    let within = |quote| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::within_quotes;

    #[test]
    fn one_pair_of_quotes_goes_and_half_a_pair_stays() {
        for (given, left) in [
            (" s\n", "s"),
            ("\"s\"\n", "s"),
            ("'s'", "s"),
            ("\"'s'\"", "'s'"),
            ("\" s \"", " s "),
            ("\"s", "\"s"),
            ("\"", "\""),
            ("", ""),
        ] {
            assert_eq!(within_quotes(given), left, "{given:?}");
        }
    }
}
