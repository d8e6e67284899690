//! The live panel on a terminal: a row a group, totals, a bar for `--jobs`, and the log below.
//!
//! It reads the books and the controls and changes the controls by keys; it knows nothing of the queue.

use std::io::IsTerminal;
use std::sync::PoisonError;
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Gauge, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{APPS, Progress, Shown};
use crate::board::snapshot::Group;
use crate::config;

/// Ten pictures a second are enough for an eye.
const REDRAW: Duration = Duration::from_millis(100);

/// Blocked groups asked for: more than `dev` has.
const GROUPS: usize = 40;

/// Lines of the parts above and below the table; the log's are those that it has at least.
const HEAD: u16 = 2;
const BAR: u16 = 1;
const LOG: u16 = 3;
const KEYS: u16 = 1;

/// Whether standard output is a terminal that wants it.
pub(super) fn fits() -> bool {
    let environment = config::environment();
    let set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
    let dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Shows the panel until all jobs are accounted for (true), or it is told to stop or nothing moves any
/// more (false). The terminal is as it was afterwards.
pub(super) async fn run(
    shown: &Shown<'_>,
    jobs: Option<u64>,
    shutdown: &CancellationToken,
) -> std::io::Result<bool> {
    let mut terminal = ratatui::try_init()?;
    // Only what differs from an empty screen is written, and a terminal without an alternate screen is not empty.
    terminal.clear()?;
    let ended = turn(&mut terminal, shown, jobs, shutdown).await;
    terminal.clear()?;
    ratatui::try_restore()?;
    ended
}

async fn turn(
    terminal: &mut DefaultTerminal,
    shown: &Shown<'_>,
    jobs: Option<u64>,
    shutdown: &CancellationToken,
) -> std::io::Result<bool> {
    let mut keys = keys(shutdown.clone());
    let mut progress = Progress::new(jobs);
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(false),
            Some(key) = keys.recv() => if !act(key, shown) { return Ok(false) },
            _ = ticks.tick() => {}
        }
        let ended = {
            let books = shown.books.lock().unwrap_or_else(PoisonError::into_inner);
            progress.ended(&books, shown.metrics)
        };
        if let Some(complete) = ended {
            return Ok(complete);
        }
        terminal.draw(|frame| draw(frame, shown, jobs))?;
    }
}

/// Keys, from a thread that may wait for them.
fn keys(shutdown: CancellationToken) -> mpsc::Receiver<KeyCode> {
    let (sender, keys) = mpsc::channel(16);
    tokio::task::spawn_blocking(move || {
        while !shutdown.is_cancelled() && !sender.is_closed() {
            match poll(REDRAW) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            let Ok(Event::Key(key)) = read() else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            // In raw mode the terminal makes no signal of it.
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            let code = if interrupt { KeyCode::Char('q') } else { key.code };
            if sender.blocking_send(code).is_err() {
                return;
            }
        }
    });
    keys
}

/// Does what a key is for; `false` ends it.
fn act(key: KeyCode, shown: &Shown<'_>) -> bool {
    let controls = shown.controls;
    match key {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('+' | '=') => controls.accelerate(2.0),
        KeyCode::Char('-') => controls.accelerate(0.5),
        KeyCode::Char('k') => drop(controls.worker.send_replace(false)),
        KeyCode::Char('r') => drop(controls.worker.send_replace(true)),
        KeyCode::Char(digit) => {
            if let Some(app) = digit.to_digit(10).and_then(|n| usize::try_from(n).ok()?.checked_sub(1)) {
                controls.toggle(app);
            }
        }
        _ => {}
    }
    true
}

fn draw(frame: &mut Frame<'_>, shown: &Shown<'_>, jobs: Option<u64>) {
    let books = shown.books.lock().unwrap_or_else(PoisonError::into_inner);
    let blocked = shown.metrics.board.snapshot(0, GROUPS).blocked.rows;
    let mut groups: Vec<(&str, usize)> = books.groups().collect();
    // What waits for a retry is what one looks for, then what is under way.
    groups.sort_unstable_by_key(|(group, waiting)| {
        (!blocked.iter().any(|other| other.group == *group), *waiting == 0, *group)
    });
    let (groups, more) = fitting(groups, frame.area().height);
    let rows = u16::try_from(groups.len() + usize::from(more > 0)).unwrap_or(u16::MAX);
    let [head, table, bar, log, keys] = Layout::vertical([
        Constraint::Length(HEAD),
        Constraint::Length(rows.max(1).saturating_add(1)),
        Constraint::Length(BAR),
        Constraint::Min(LOG),
        Constraint::Length(KEYS),
    ])
    .areas(frame.area());

    let (sent, delivered, dead) = books.totals();
    let totals =
        totals_line((blocked.len(), dead), shown.controls.rate(), (sent, delivered, shown.metrics.retries()));
    let worker = if *shown.controls.worker.borrow() { "worker up" } else { "WORKER KILLED" };
    let page = format!("Status page: http://{}/ · {worker}", shown.page);
    frame.render_widget(Paragraph::new(vec![Line::from(page).bold(), Line::from(totals)]), head);
    let rest = (more > 0).then(|| Row::new([format!("and {more} more")]).style(dim()));
    let body = groups.into_iter().map(|(group, waiting)| row(group, waiting, &blocked, shown)).chain(rest);
    let widths = [Constraint::Length(22), Constraint::Length(26), Constraint::Length(8), Constraint::Min(10)];
    let header = Row::new(["GROUP", "STATE", "WAITING", "NEXT RETRY"]).style(dim());
    frame.render_widget(Table::new(body, widths).header(header), table);
    progress(frame, bar, jobs, delivered + dead);

    let room = usize::from(log.height.saturating_sub(1));
    let mut lines: Vec<Line<'_>> = books.lines().rev().take(room).map(Line::from).collect();
    lines.reverse();
    frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::TOP).title(" Log ")), log);
    frame.render_widget(Paragraph::new(help(shown)).style(dim()), keys);
}

/// The first groups that a terminal of that height has lines for, and how many more there are.
fn fitting(mut groups: Vec<(&str, usize)>, height: u16) -> (Vec<(&str, usize)>, usize) {
    // The table has a line of headings.
    let room = usize::from(height.saturating_sub(HEAD + 1 + BAR + LOG + KEYS));
    if groups.len() <= room {
        return (groups, 0);
    }
    let all = groups.len();
    // One line tells of the rest.
    groups.truncate(room.saturating_sub(1));
    let more = all - groups.len();
    (groups, more)
}

/// One group: what it does, how many jobs of it wait, and when the first of them is tried again.
fn row<'a>(group: &'a str, waiting: usize, blocked: &[Group], shown: &Shown<'_>) -> Row<'a> {
    let why = blocked.iter().find(|other| other.group == group);
    let (state, colour) = match why {
        Some(why) => (format!("✕ {}", why.detail), Color::Red),
        None if waiting > 0 && !*shown.controls.worker.borrow() => ("· no worker".to_owned(), Color::Yellow),
        None if waiting > 0 => ("▸ delivering".to_owned(), Color::Green),
        None => ("✓ all delivered".to_owned(), Color::Reset),
    };
    let retry = match why {
        Some(why) if why.next_retry_s > 0 => {
            format!("in {} s, attempt {}", why.next_retry_s, why.attempts.saturating_add(1))
        }
        Some(_) => "due".to_owned(),
        None => String::new(),
    };
    let short = group.trim_end_matches("_webhooks").to_owned();
    Row::new([short, state, waiting.to_string(), retry]).style(Style::new().fg(colour))
}

fn progress(frame: &mut Frame<'_>, area: Rect, jobs: Option<u64>, settled: u64) {
    let Some(jobs) = jobs else { return };
    #[allow(clippy::cast_precision_loss, reason = "a bar of eighty columns")]
    let ratio = (settled as f64 / jobs as f64).clamp(0.0, 1.0);
    let gauge = Gauge::default()
        .ratio(ratio)
        .label(format!("{settled} of {jobs} jobs settled"))
        .gauge_style(Style::new().fg(Color::Blue));
    frame.render_widget(gauge, area);
}

/// What is wrong first, in eighty columns.
fn totals_line(
    (blocked, dead): (usize, u64),
    rate: f64,
    (sent, delivered, retried): (u64, u64, u64),
) -> String {
    format!(
        "blocked {blocked} · dead {dead} · {rate:.1} jobs/s · sent {sent}  delivered {delivered}  retried {retried}"
    )
}

/// The keys, the way out first, in eighty columns.
fn help(shown: &Shown<'_>) -> Line<'static> {
    Line::from(keys_line(|n| shown.controls.is_failing(n)))
}

fn keys_line(is_failing: impl Fn(usize) -> bool) -> String {
    let app = |(n, app)| format!("{} {} {app}", n + 1, if is_failing(n) { "heal" } else { "fail" });
    let apps: Vec<String> = APPS.iter().enumerate().map(app).collect();
    format!("q quit  {}  k kill  r restart  +/- rate", apps.join("  "))
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_told_in_eighty_columns() {
        let line = keys_line(|_| true);
        assert!(line.chars().count() <= 80 && line.contains("q quit") && line.contains("rate"), "{line}");
    }

    #[test]
    fn all_totals_are_told_in_eighty_columns() {
        let line = totals_line((18, 123), 50.0, (99_999, 99_999, 9_999));
        assert!(line.chars().count() <= 80 && line.ends_with("retried 9999"), "{line}");
        let longer = totals_line((18, 12_345), 1_000.0, (9_999_999, 9_999_999, 999_999));
        assert!(longer.chars().take(80).collect::<String>().contains("dead 12345 "), "{longer}");
    }

    #[test]
    fn groups_without_a_line_are_counted() {
        let names: Vec<String> = (0..18).map(|n| n.to_string()).collect();
        let groups = || names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>();
        for (height, rows, more) in
            [(40, 18, 0), (26, 18, 0), (25, 16, 2), (24, 15, 3), (10, 1, 17), (3, 0, 18)]
        {
            let (shown, rest) = fitting(groups(), height);
            assert_eq!((shown.len(), rest), (rows, more), "{height}");
        }
    }
}
