//! Intervals as people write them: `30s`, `5m`, `2h`, `1d`.

use std::time::Duration;

/// A text that is no interval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not a whole number with a unit.
    #[error("`{0}` is not an interval; write a whole number and a unit, such as `30s`, `5m`, `2h` or `1d`")]
    Form(String),
    /// Nothing, or more than a year.
    #[error("`{0}` is out of range; an interval lies between 1s and 365d")]
    Range(String),
}

/// Reads an interval between one second and 365 days.
///
/// # Errors
/// [`IntervalError`]
pub fn parse_interval(text: &str) -> Result<Duration, IntervalError> {
    let shown = || text.chars().take(40).flat_map(char::escape_default).collect::<String>();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(IntervalError::Form(shown())),
    };
    if number.is_empty() {
        return Err(IntervalError::Form(shown()));
    }
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    match seconds {
        Some(seconds @ 1..=31_536_000) => Ok(Duration::from_secs(seconds)),
        _ => Err(IntervalError::Range(shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_a_number_and_a_unit() {
        assert_eq!(parse_interval("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_interval("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "s", "1", "1y", "-1s", "1.5h", "0s", "366d", "99999999999999999999s", "1e30s"] {
            assert!(parse_interval(bad).is_err(), "{bad}");
        }
    }
}
