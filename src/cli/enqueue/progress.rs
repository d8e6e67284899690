//! How far it got, for people at a terminal alone.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

/// A line on standard error: a bar where the input is a file, whose length is known, else a count. Elsewhere
/// than on a terminal it is not drawn.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    jobs: Cell<u64>,
    /// The input's bytes of each job that was read and is not on the queue yet, in order.
    read: RefCell<VecDeque<u64>>,
}

impl Progress {
    pub(super) fn start(wanted: bool) -> Self {
        let bar = (wanted && std::io::stderr().is_terminal()).then(|| drawn(length_of_input()));
        Self { bar, began: Instant::now(), jobs: Cell::default(), read: RefCell::default() }
    }

    /// A job was read that had this many bytes of input.
    pub(super) fn read(&self, bytes: u64) {
        if self.bar.is_some() {
            self.read.borrow_mut().push_back(bytes);
        }
    }

    /// The next job in the input's order is on the queue, or will never be.
    pub(super) fn one_more(&self) {
        let Some(bar) = &self.bar else { return };
        self.jobs.set(self.jobs.get() + 1);
        bar.inc(self.read.borrow_mut().pop_front().unwrap_or_default());
        bar.set_message(format!(
            "{} jobs, {:.0} a second",
            self.jobs.get(),
            rate(self.jobs.get(), self.began.elapsed())
        ));
    }

    /// Says something beside it.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes it off the terminal; gives how long it was there.
    pub(super) fn end(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.began.elapsed()
    }
}

/// Jobs a second.
pub(super) fn rate(jobs: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = if seconds > 0.0 { jobs as f64 / seconds } else { 0.0 };
    rate
}

fn drawn(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:30} {percent}%  {msg}, {elapsed}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}, {elapsed}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message("0 jobs");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The length of standard input, if it is a file.
fn length_of_input() -> Option<u64> {
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    input.metadata().ok().filter(std::fs::Metadata::is_file).map(|file| file.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_ends_where_the_input_does() {
        let bar = ProgressBar::hidden();
        bar.set_length(30);
        let progress = Progress {
            bar: Some(bar.clone()),
            began: Instant::now(),
            jobs: Cell::default(),
            read: RefCell::default(),
        };
        for bytes in [10, 15, 5] {
            progress.read(bytes);
        }
        progress.one_more();
        assert_eq!((bar.position(), bar.length()), (10, Some(30)), "what was read alone does not count");
        progress.one_more();
        progress.one_more();
        assert_eq!(bar.position(), 30);
        assert!(bar.message().starts_with("3 jobs, "));
    }
}
