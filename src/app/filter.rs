//! Which channels a webhook wants, in soketi's terms and in sockudo's.

mod translation;

use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;

use super::limits::{MAX_MATCHED_BYTES, MAX_PATTERN_SIZE, MAX_PATTERN_WORK};

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
pub struct Pattern {
    text: String,
    compiled: Regex,
    /// Its classes have ASCII characters alone: it matches no name that has others.
    ascii: bool,
}

/// What looking at an event takes, and at each of the namespaces that a filter names, in nanoseconds.
const EVENT_COST: u64 = 50;
const NAMESPACE_COST: u64 = 2;
/// Matching takes a nanosecond for each byte of a name and so many of the compiled pattern, at the worst: where all of
/// it is tried at every byte, as with `(a?){600}b`. Ordinary patterns take a hundredth of it.
const PATTERN_BYTES_A_NANOSECOND: u64 = 2;
/// How deep groups and brackets of a pattern may be within each other.
const MAX_NESTING: u32 = 50;

/// Why a pattern is none that can be used, though it is a regular expression.
const TOO_LARGE: &str = "is too large once it is compiled";

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
            && self.channel_pattern.as_ref().is_none_or(|pattern| pattern.is_match(channel))
    }

    /// At the most so many nanoseconds it takes to say whether a channel of that length passes.
    #[must_use]
    pub fn cost(&self, channel: usize) -> u64 {
        let namespaces = self.channel_namespaces.as_ref().map_or(0, Vec::len) as u64;
        let pattern = self.channel_pattern.as_ref().filter(|_| channel <= MAX_MATCHED_BYTES);
        let matching = pattern.map_or(0, |pattern| pattern.size() as u64 * (channel as u64 + 1));
        EVENT_COST + NAMESPACE_COST * namespaces + matching / PATTERN_BYTES_A_NANOSECOND
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
    /// Compiles a pattern, within bounds of time and memory; matching takes time linear in the name. One that is too large with
    /// the classes of Unicode has those of ASCII: `\w` takes a hundredth then. It is the same to every name that a server
    /// allows, since those are ASCII.
    ///
    /// # Errors
    /// It is no regular expression, or too large a one.
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        if Self::work(pattern).is_none() {
            return Err(
                "has character classes that take too long to be compiled: use smaller or fewer of them where (?i) holds",
            );
        }
        let compiled = match Self::compiled(pattern, true) {
            Err(TOO_LARGE) => {
                Self::compiled(pattern, false).map(|compiled| (compiled, true)).map_err(|_| TOO_LARGE)
            }
            compiled => compiled.map(|compiled| (compiled, false)),
        };
        compiled.map(|(compiled, ascii)| Self { text: pattern.to_owned(), compiled, ascii })
    }

    fn compiled(pattern: &str, unicode: bool) -> Result<Regex, &'static str> {
        // One engine alone: the others are quicker, and take memory for it that nothing bounds for all of them together.
        let settings = Regex::config()
            .utf8_empty(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(MAX_PATTERN_SIZE))
            .hybrid(false)
            .dfa(false)
            .onepass(false)
            .backtrack(false);
        let built = Regex::builder()
            .configure(settings)
            .syntax(syntax::Config::new().utf8(false).unicode(unicode).nest_limit(MAX_NESTING))
            .build(pattern);
        built.map_err(|error| error.size_limit().map_or("is no regular expression", |_| TOO_LARGE))
    }

    /// How many code points are looked up to compile a pattern: what it takes before its size is known. `None` for more
    /// than [`MAX_PATTERN_WORK`].
    #[must_use]
    pub fn work(pattern: &str) -> Option<usize> {
        translation::work(pattern, MAX_NESTING, MAX_PATTERN_WORK)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of memory that it takes, compiled.
    #[must_use]
    pub fn size(&self) -> usize {
        self.compiled.memory_usage() + self.text.len()
    }

    fn is_match(&self, channel: &[u8]) -> bool {
        channel.len() <= MAX_MATCHED_BYTES
            && (!self.ascii || channel.is_ascii())
            && self.compiled.is_match(channel)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// The type that a channel's name begins with.
pub(super) fn channel_type(name: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|kind| name.starts_with(kind))
}

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
        for good in [
            r"\w+",
            r"^[\p{L}\d_-]+$",
            r"(?i)^(private|presence)-.*$",
            "^[a-z]{1,200}$",
            r"^(?:private-)?\w+\.\w+\.\d+$",
            r"^private-user-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
            r"^orders-\w{8}$",
            r"^private-[\w-]{4,40}$",
            r"(\w?){5}b",
        ] {
            assert!(Pattern::new(good).is_ok_and(|pattern| pattern.size() <= MAX_PATTERN_SIZE), "{good}");
        }
        for bad in [
            "(",
            "[a",
            r"(?:a{1000}){1000}",
            r"(\w{100}){100}",
            r"(\p{L}?){9}b",
            r"\w{9}\p{L}",
            &"(".repeat(60),
        ] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        // A group would take room at every place of the pattern.
        let groups = Pattern::new(&"(a?)".repeat(250)).unwrap();
        assert_eq!(groups.size() - 1000, Pattern::new(&"a?".repeat(250)).unwrap().size() - 500);
    }

    #[test]
    fn a_pattern_that_unicode_makes_too_large_means_the_same_to_the_names_of_servers() {
        for (pattern, passes, fails) in [
            (r"^orders-\w{8}$", "orders-ab_cd123", "orders-ab-cd123"),
            (r"^orders-\w{8}$", "orders-ABCD1234", "orders-abcd123é"),
            (r"^private-[\w-]{4,40}$", "private-a-b_", "private-a.b_"),
            (r"(?i)^orders-\w{8}\b", "ORDERS-abcd1234.x", "orders-abcd12345"),
            (r"^[^\W\d]{8}#", "abcdefgh#1", "abcdefg1#1"),
            (r"^é|\w{8}", "abcd1234", "éabcd1234"),
        ] {
            let filter = Filter { channel_pattern: Pattern::new(pattern).ok(), ..Filter::default() };
            assert!(filter.channel_pattern.as_ref().is_some_and(|pattern| pattern.ascii), "{pattern}");
            assert!(filter.passes(passes.as_bytes()), "{pattern} {passes}");
            assert!(!filter.passes(fails.as_bytes()), "{pattern} {fails}");
        }
        let small = Filter { channel_pattern: Pattern::new(r"^\w$").ok(), ..Filter::default() };
        assert!(small.passes("é".as_bytes()), "as sockudo's own crate has it");
    }

    #[test]
    fn a_pattern_whose_classes_take_long_to_compile_is_refused_before() {
        let million = "[!-\u{e0000}]";
        for bad in [
            format!("(?i){}", million.repeat(120)),
            format!("(?i:{})", r"[\W]".repeat(3)),
            format!("(?i){}", r"\PL".repeat(3)),
            format!("(?i){}!-\u{e0000}{}", "[a".repeat(20), "]".repeat(20)),
            format!("(?i){}[^a]{}", "[a".repeat(20), "]".repeat(20)),
            format!("(?i)[{}a]", r"\W&&".repeat(20)),
            format!("[{}]", r"\w".repeat(1000)),
        ] {
            assert!(Pattern::new(&bad).is_err_and(|why| why.contains("too long")), "{bad}");
        }
        for good in [
            million.repeat(20),
            r"(?i)^[^\W_]+$".to_owned(),
            r"(?i)^[\s\S]*$".to_owned(),
            r"(?i)^[\p{L}\p{N}_-]+$".to_owned(),
            r"(?i)^[^a-z]+\W+[^[:digit:]]$".to_owned(),
        ] {
            assert!(Pattern::new(&good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_pattern_does_not_let_a_channel_pass_that_is_longer_than_any_server_allows() {
        let filter = Filter { channel_pattern: Pattern::new("(a?){600}").ok(), ..Filter::default() };
        assert!(filter.passes(&[b'a'; MAX_MATCHED_BYTES]));
        assert!(!filter.passes(&[b'a'; MAX_MATCHED_BYTES + 1]));
        assert!(filter.cost(MAX_MATCHED_BYTES) > 1_000_000, "milliseconds");
        assert_eq!(filter.cost(MAX_MATCHED_BYTES + 1), EVENT_COST, "it is not matched");
    }
}
