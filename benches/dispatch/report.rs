//! Tables and medians.

use super::run::Taken;

/// The middle one, or the mean of the two in the middle; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), middle.checked_sub(1).and_then(|below| values.get(below))) {
        (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => f64::midpoint(*lower, *upper),
        (Some(value), _) => *value,
        (None, _) => 0.0,
    }
}

/// The median of one figure over several runs.
pub fn median_of(runs: &[Taken], figure: impl Fn(&Taken) -> f64) -> f64 {
    median(runs.iter().map(figure).collect())
}

/// The median, turn by turn, of the ratio of one figure of `ours` to that of `theirs`.
pub fn ratio(ours: &[Taken], theirs: &[Taken], figure: impl Fn(&Taken) -> f64) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| figure(ours) / figure(theirs)).collect())
}

pub fn headline() {
    println!(
        "{:<28} {:>12} {:>12} {:>9} {:>11} {:>12} {:>6} {:>9}",
        "", "deliveries/s", "CPU µs each", "peak MiB", "calls each", "events/post", "dup", "disorder"
    );
}

/// One line: medians of what several runs of the same took.
pub fn line(name: &str, runs: &[Taken]) {
    let sum = |figure: fn(&Taken) -> u64| runs.iter().map(figure).sum::<u64>();
    println!(
        "{name:<28} {:>12.0} {:>12.1} {:>9.1} {:>11.3} {:>12.2} {:>6} {:>9}",
        median_of(runs, |taken| taken.deliveries_per_s),
        median_of(runs, |taken| taken.cpu_us),
        median_of(runs, |taken| mebibytes(taken.peak)),
        median_of(runs, |taken| taken.calls),
        median_of(runs, |taken| taken.events_per_post),
        sum(|taken| taken.duplicates),
        sum(|taken| taken.out_of_order),
    );
}

/// Bytes in MiB.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
