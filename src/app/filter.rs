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
mod tests;
