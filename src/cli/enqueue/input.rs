//! The lines of standard input.

use std::io::{BufRead, Read};

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;

/// Lines that are read ahead.
const AHEAD: usize = 16;
/// The longest line: a message of 1 MiB with each of its bytes escaped, and then some.
const MAX_LINE: u64 = 8 << 20;

/// A line and its number, or why there is none.
pub(super) type ReadLine = anyhow::Result<(u64, String)>;

/// The lines that are not empty, up to the first that is none. They are read on a thread of their own: a read of
/// standard input cannot be given up, and the runtime would wait for it before the process ends.
pub(super) fn lines() -> anyhow::Result<mpsc::Receiver<ReadLine>> {
    let (found, lines) = mpsc::channel(AHEAD);
    let reading = move || read(std::io::stdin().lock(), |line| found.blocking_send(line).is_ok());
    std::thread::Builder::new().name("input".to_owned()).spawn(reading).context("standard input")?;
    Ok(lines)
}

/// Hands over lines while they are wanted.
fn read(mut input: impl BufRead, mut found: impl FnMut(ReadLine) -> bool) {
    let mut number = 0;
    loop {
        number += 1;
        let line = match next(&mut input) {
            Ok(None) => return,
            Ok(Some(line)) if line.trim().is_empty() => continue,
            Ok(Some(line)) => Ok((number, line)),
            Err(error) => Err(error.context(format!("line {number}"))),
        };
        let ends = line.is_err();
        if !found(line) || ends {
            return;
        }
    }
}

fn next(input: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE + 1).read_until(b'\n', &mut line).context("standard input")?;
    if read as u64 > MAX_LINE {
        return Err(anyhow!("has more than {} MiB, and no message has more than 1 MiB", MAX_LINE >> 20));
    }
    if read == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        anyhow!("is no UTF-8 from byte {at} on; convert the input, for example with iconv")
    })?;
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(input: &[u8]) -> Vec<Result<(u64, String), String>> {
        let mut all = Vec::new();
        read(input, |line| {
            all.push(line.map_err(|error| format!("{error:#}")));
            true
        });
        all
    }

    #[test]
    fn what_is_no_line_is_told_by_its_number_and_ends_the_input() {
        assert_eq!(read_all(b"a\n\n \r\nb"), [Ok((1, "a\n".to_owned())), Ok((4, "b".to_owned()))]);
        let ended = read_all(b"a\n\xff{}\nb\n");
        assert!(
            ended.len() == 2 && ended[1].as_ref().unwrap_err().contains("line 2: is no UTF-8 from byte 1")
        );
        let mut long = vec![b'x'; 9 << 20];
        long.extend(b"\nb\n");
        let ended = read_all(&long);
        assert_eq!(
            ended,
            [Err("line 1: has more than 8 MiB, and no message has more than 1 MiB".to_owned())]
        );
    }
}
