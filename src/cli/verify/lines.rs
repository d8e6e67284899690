//! What is said of a job or a webhook, line by line.

use std::fmt;

/// Lines, each right or wrong.
pub(super) struct Findings(Vec<(bool, String)>);

impl Findings {
    /// One thing that is wrong, after which nothing can be said.
    pub(super) fn wrong(text: String) -> Self {
        Self(vec![(false, text)])
    }

    pub(super) fn valid(&self) -> bool {
        self.0.iter().all(|(right, _)| *right)
    }

    /// Nothing yet.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn say(&mut self, right: bool, text: impl Into<String>) {
        self.0.push((right, text.into()));
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (right, text) in &self.0 {
            writeln!(f, "{}  {text}", if *right { "ok   " } else { "WRONG" })?;
        }
        f.write_str(if self.valid() { "valid" } else { "not valid" })
    }
}
