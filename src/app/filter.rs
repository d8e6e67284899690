//! Which channels a webhook wants, in soketi's terms and in sockudo's.

use regex::bytes::{Regex, RegexBuilder};

use super::limits::MAX_PATTERN_SIZE;

/// What the names of channels begin with that are of a type, the longest first: what comes after is the
/// channel's own name, as sockudo takes it.
const TYPES: [&str; 7] = [
    "private-encrypted-cache-",
    "private-cache-",
    "presence-cache-",
    "cache-",
    "private-encrypted-",
    "presence-",
    "private-",
];

/// Which channels a webhook wants. An absent part lets everything pass; all that are there have to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The channel's name has to begin so: soketi's name for it.
    pub channel_name_starts_with: Option<String>,
    /// The channel's name has to end so: soketi's name for it.
    pub channel_name_ends_with: Option<String>,
    /// The channel's name has to begin so: sockudo's name for it.
    pub channel_prefix: Option<String>,
    /// The channel's name has to end so: sockudo's name for it.
    pub channel_suffix: Option<String>,
    /// This has to match somewhere in the channel's name.
    pub channel_pattern: Option<Pattern>,
    /// The part of the channel's own name before the first colon has to be this.
    pub channel_namespace: Option<String>,
    /// It has to be one of these; of none, no channel passes.
    pub channel_namespaces: Option<Vec<String>>,
}

/// A regular expression over a channel's name.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Filter {
    /// Whether a channel passes. Its name comes as bytes, because JavaScript can write one that is no
    /// UTF-8.
    #[must_use]
    pub fn passes(&self, channel: &[u8]) -> bool {
        let begins =
            |part: &Option<String>| part.as_deref().is_none_or(|part| channel.starts_with(part.as_bytes()));
        let ends =
            |part: &Option<String>| part.as_deref().is_none_or(|part| channel.ends_with(part.as_bytes()));
        begins(&self.channel_name_starts_with)
            && begins(&self.channel_prefix)
            && ends(&self.channel_name_ends_with)
            && ends(&self.channel_suffix)
            && self.in_namespace(channel)
            && self.channel_pattern.as_ref().is_none_or(|pattern| pattern.0.is_match(channel))
    }

    fn in_namespace(&self, channel: &[u8]) -> bool {
        if self.channel_namespace.is_none() && self.channel_namespaces.is_none() {
            return true;
        }
        let Some(own) = namespace(channel) else { return false };
        let one = self.channel_namespace.as_deref().is_none_or(|wanted| wanted.as_bytes() == own);
        let any = self.channel_namespaces.as_deref();
        one && any.is_none_or(|wanted| wanted.iter().any(|wanted| wanted.as_bytes() == own))
    }
}

impl Pattern {
    /// Compiles a pattern, within a bound of memory; matching takes time linear in the name.
    ///
    /// # Errors
    /// It is no regular expression, or too large a one.
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        let built = RegexBuilder::new(pattern)
            .size_limit(MAX_PATTERN_SIZE)
            .dfa_size_limit(MAX_PATTERN_SIZE)
            .nest_limit(50)
            .build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "is too large once it is compiled",
            _ => "is no regular expression",
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// What stands before the first colon of a channel's own name.
fn namespace(channel: &[u8]) -> Option<&[u8]> {
    let own = TYPES.iter().find_map(|kind| channel.strip_prefix(kind.as_bytes())).unwrap_or(channel);
    let (namespace, _) = own.split_at_checked(own.iter().position(|byte| *byte == b':')?)?;
    (!namespace.is_empty()).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_filter_has_its_effect_and_all_have_to_pass() {
        let pattern = |text: &str| Pattern::new(text).ok();
        let of = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter
        };
        for (filter, passes, fails) in [
            (of(&|f| f.channel_name_starts_with = Some("private-".into())), "private-a", "a-private-"),
            (of(&|f| f.channel_prefix = Some("private-".into())), "private-a", "a-private-"),
            (of(&|f| f.channel_name_ends_with = Some("-a".into())), "b-a", "-ab"),
            (of(&|f| f.channel_suffix = Some("-a".into())), "b-a", "-ab"),
            (of(&|f| f.channel_pattern = pattern(r"^orders-\d+$")), "orders-42", "orders-x"),
            (of(&|f| f.channel_pattern = pattern("lobby")), "presence-lobby-1", "presence-hall"),
            (of(&|f| f.channel_namespace = Some("chat".into())), "private-encrypted-chat:1", "chat-1"),
            (of(&|f| f.channel_namespace = Some("chat".into())), "presence-cache-chat:a:b", "orders:chat:1"),
            (of(&|f| f.channel_namespaces = Some(vec!["a".into(), "b".into()])), "private-b:1", "c:1"),
        ] {
            assert!(filter.passes(passes.as_bytes()), "{filter:?} {passes}");
            assert!(!filter.passes(fails.as_bytes()), "{filter:?} {fails}");
            assert!(Filter::default().passes(fails.as_bytes()));
        }
        let both = of(&|f| {
            f.channel_prefix = Some("private-".into());
            f.channel_namespace = Some("orders".into());
        });
        assert!(both.passes(b"private-orders:1"));
        assert!(!both.passes(b"orders:1") && !both.passes(b"private-chat:1") && !both.passes(b"private-:1"));
        assert!(!of(&|f| f.channel_namespaces = Some(Vec::new())).passes(b"a:1"));
        assert!(of(&|f| f.channel_prefix = Some("a".into())).passes(b"a\xed\xa0\x80"), "a lone surrogate");
    }

    #[test]
    fn a_pattern_has_a_bound_of_memory() {
        for good in [r"\w+", r"^[\p{L}\d_-]+$", r"(?i)^(private|presence)-.*$", "^[a-z]{1,200}$"] {
            assert!(Pattern::new(good).is_ok(), "{good}");
        }
        for bad in ["(", "[a", r"(?:a{1000}){1000}", r"(\w{100}){100}", &"(".repeat(60)] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }
}
