//! Figures, printed.

use std::io::Write as _;
use std::time::Duration;

/// A line on standard output.
pub(crate) fn show(line: &str) {
    // A reader that went away is no fault of a measurement.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Lowest, median and highest, in milliseconds.
pub(crate) fn spread(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let ms = |at: usize| sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    format!("median {:>6.1} ms   lowest {:>6.1}   highest {:>6.1}", median(&sorted), ms(0), ms(sorted.len().saturating_sub(1)))
}

/// The median, in milliseconds.
pub(crate) fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(high), 1) => high.as_secs_f64() * 1e3,
        (Some(high), _) => (*high + sorted[middle - 1]).as_secs_f64() * 500.0,
    }
}
