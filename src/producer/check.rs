//! What SQS can never take, told before anything is sent.

use super::error::Error;
use crate::queue::{MAX_BATCH_BYTES, NewMessage};

/// The longest group and deduplication ids that SQS takes.
const MAX_ID: usize = 128;

/// The bytes that SQS counts of a job, if it can take it at all.
pub(crate) fn size(job: &NewMessage) -> Result<usize, Error> {
    for (what, id) in [("message group id", &job.group), ("deduplication id", &job.deduplication)] {
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let shown: String = id.chars().take(MAX_ID).flat_map(char::escape_default).collect();
            return Err(Error::Refused(format!(
                "its {what} {shown:?} is not 1 to {MAX_ID} ASCII letters, digits and punctuation marks"
            )));
        }
    }
    if job.body.is_empty() {
        return Err(Error::Refused("its body is empty".to_owned()));
    }
    if let Some(character) = job.body.chars().find(|character| !allowed(*character)) {
        return Err(Error::Refused(format!(
            "its body holds the character {}, which no message may hold; JSON can escape it",
            character.escape_unicode()
        )));
    }
    let size = job.size();
    if size > MAX_BATCH_BYTES {
        return Err(Error::TooLarge { size, limit: MAX_BATCH_BYTES });
    }
    Ok(size)
}

/// The characters of XML 1.0, which are those of a message.
fn allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
