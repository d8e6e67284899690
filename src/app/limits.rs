//! What an app may register: bounds on everything that its owner, a stranger, chooses.
//!
//! Each is far above what receivers need and small enough that an app at all of them costs the others
//! nothing. Past one of them the app is unusable: its jobs have the retry window, then the dead-letter
//! queue, and nobody else's are touched.

/// Webhooks of an app: each can be an attempt for every job.
pub const MAX_WEBHOOKS: usize = 100;
/// Bytes of an app's webhooks as JSON text; with it parsing and what is remembered are bounded.
pub const MAX_WEBHOOKS_BYTES: usize = 1 << 20;
/// Headers of a webhook: common servers refuse a request with more than 100.
pub const MAX_HEADERS: usize = 50;
/// Bytes of a webhook's header names and values: common servers refuse a request with more than 8 KiB.
pub const MAX_HEADER_BYTES: usize = 6 * 1024;
/// Event types, and namespaces, that a webhook names; there are some twenty kinds of events.
pub const MAX_NAMES: usize = 100;
/// Bytes of an event type, or of a part of a filter: Pusher's own limit for names of events and channels.
pub const MAX_NAME_BYTES: usize = 200;
/// Bytes of a channel pattern.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// Bytes that a channel pattern may take while it is compiled; it is half of that then. Ordinary ones take 1 to 3 KB, and 18 KB for each `\w`, which is
/// thousands of ranges of Unicode's; where that is too much, `\w` is that of ASCII.
pub const MAX_PATTERN_SIZE: usize = 64 * 1024;
/// Bytes that all of an app's compiled channel patterns may take: some two hundred ordinary ones, or 28 that have a `\w` each.
/// Matching a name with all of them takes time in proportion.
pub const MAX_PATTERNS_SIZE: usize = 512 * 1024;
/// Code points that are looked up to compile a channel pattern, before its size is known: some twenty nanoseconds each. All that
/// there are is a million, which `(?i)[\W\w]` takes.
pub const MAX_PATTERN_WORK: usize = 1_200_000;
/// The same for all of an app's: fifty milliseconds. Two apps of a source are read at a time, and others wait for that.
pub const MAX_PATTERNS_WORK: usize = 2_500_000;
/// Bytes of a channel's name that a pattern is matched against: a longer name does not pass. Pusher's own limit is
/// 164 characters, soketi's and sockudo's 200.
pub const MAX_MATCHED_BYTES: usize = 256;
/// Bytes of a URL: longer ones are refused by many servers and proxies.
pub const MAX_URL_BYTES: usize = 2048;
/// Bytes of a function's name, version and all; an ARN has at most 170 characters and a qualifier 128.
pub const MAX_FUNCTION_BYTES: usize = 300;
/// Bytes of a webhook's `client_options`: a session token has about 1 KB.
pub const MAX_CLIENT_OPTIONS_BYTES: usize = 8 * 1024;
/// Bytes of an app's id, key or secret; soketi's columns hold 255.
pub const MAX_ID_BYTES: usize = 255;
/// Secrets of an app: a new one, and old ones under which jobs may still be signed.
pub const MAX_SECRETS: usize = 4;
/// Remarks of each severity kept on one app: whoever reads the log needs no more to see what is wrong with it.
pub const MAX_REMARKS: usize = 20;
