//! POSIX cron expressions, in UTC.
//!
//! Goes in: five fields. Comes out: the next time. The `cron` crate counts days of the week from Sunday = 1, wants seconds, and
//! asks for both sorts of day; so an expression is read here by the rules of crontab(5), and given to the crate as plain lists.
//!
//! **Invariant:** an expression that could never fire is refused when it is read.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

/// When to look, as `minute hour day-of-month month day-of-week`.
///
/// As in crontab(5): lists, ranges, steps (`*/5`, `10-30/5`), names of months and days, Sunday as 0 or 7. Where both sorts of day are
/// restricted (neither field begins with `*`), a day that fits **either** counts.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    /// Two where either sort of day counts: the earlier is next.
    parts: Vec<cron::Schedule>,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("a schedule has five fields (minute, hour, day of month, month, day of week), not {0}")]
    Fields(usize),
    /// A field that cannot be read.
    #[error("`{text}` is not a valid {field}; {expected}")]
    Field {
        /// Which field.
        field: &'static str,
        /// The item, escaped.
        text: String,
        /// What is.
        expected: &'static str,
    },
    /// No day fits, such as 30 February.
    #[error("`{0}` never fires")]
    Never(String),
}

impl Schedule {
    /// The first time after `after`.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.parts.iter().filter_map(|part| part.after(&after).next()).min()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;
    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let never = || ScheduleError::Never(escaped(text));
        let parts: Vec<cron::Schedule> =
            translate(text)?.iter().map(|part| part.parse()).collect::<Result<_, _>>().map_err(|_| never())?;
        let schedule = Self { text: text.split_whitespace().collect::<Vec<_>>().join(" "), parts };
        // Eight years hold every 29 February but one, whatever the century.
        schedule.next(DateTime::UNIX_EPOCH).ok_or_else(never)?;
        Ok(schedule)
    }
}

struct Field {
    name: &'static str,
    range: std::ops::RangeInclusive<u8>,
    names: &'static [&'static str],
    expected: &'static str,
}

const MINUTE: Field = Field { name: "minute", range: 0..=59, names: &[], expected: "0-59, lists, ranges and steps are" };
const HOUR: Field = Field { name: "hour", range: 0..=23, names: &[], expected: "0-23, lists, ranges and steps are" };
const DAY: Field = Field { name: "day of month", range: 1..=31, names: &[], expected: "1-31, lists, ranges and steps are" };
const MONTH: Field = Field {
    name: "month",
    range: 1..=12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    expected: "1-12, jan-dec, lists, ranges and steps are",
};
const WEEKDAY: Field = Field {
    name: "day of week",
    range: 0..=7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    expected: "0-7 (0 and 7 are Sunday), sun-sat, lists, ranges and steps are",
};

/// A POSIX expression as expressions of the `cron` crate, any of which fires: `second minute hour day month weekday`.
fn translate(text: &str) -> Result<Vec<String>, ScheduleError> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return Err(ScheduleError::Fields(fields.len())) };
    let (minute, hour, month) = (MINUTE.list(minute)?, HOUR.list(hour)?, MONTH.list(month)?);
    let days = DAY.list(day)?;
    let weekdays: BTreeSet<u8> = WEEKDAY.values(weekday)?.into_iter().map(|n| n % 7 + 1).collect();
    let weekdays = if weekdays.len() == 7 { "*".to_owned() } else { joined(&weekdays) };
    let restricted = |field: &str| !field.starts_with('*');
    let pairs = if restricted(day) && restricted(weekday) {
        vec![(days.as_str(), "*"), ("*", weekdays.as_str())]
    } else {
        vec![(days.as_str(), weekdays.as_str())]
    };
    Ok(pairs.into_iter().map(|(day, weekday)| format!("0 {minute} {hour} {day} {month} {weekday}")).collect())
}

impl Field {
    fn list(&self, text: &str) -> Result<String, ScheduleError> {
        let values = self.values(text)?;
        Ok(if values.len() == self.range.clone().count() { "*".to_owned() } else { joined(&values) })
    }

    fn values(&self, text: &str) -> Result<BTreeSet<u8>, ScheduleError> {
        let mut values = BTreeSet::new();
        for item in text.split(',') {
            let error = || ScheduleError::Field { field: self.name, text: escaped(item), expected: self.expected };
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, number(step).filter(|step| *step > 0).ok_or_else(error)?),
                None => (item, 1),
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (*self.range.start(), *self.range.end()),
                Some((first, last)) => (self.value(first).ok_or_else(error)?, self.value(last).ok_or_else(error)?),
                // A step needs a range: what `5/15` means differs from one cron to the next.
                None if item != range => return Err(error()),
                None => self.value(range).map(|value| (value, value)).ok_or_else(error)?,
            };
            if first > last {
                return Err(error());
            }
            values.extend((first..=last).step_by(step.into()));
        }
        Ok(values)
    }

    fn value(&self, text: &str) -> Option<u8> {
        let named = self.names.iter().zip(*self.range.start()..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, value)| value).or_else(|| number(text)).filter(|value| self.range.contains(value))
    }
}

/// Digits only: `parse` would take `+5`.
fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

fn joined(values: &BTreeSet<u8>) -> String {
    values.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

fn escaped(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_translated() {
        for (posix, expected) in [
            ("* * * * *", &["0 * * * * *"][..]),
            ("*/15 0 1 1 *", &["0 0,15,30,45 0 1 1 *"]),
            ("5 4 * * sun", &["0 5 4 * * 1"]),
            ("5 4 * * 0", &["0 5 4 * * 1"]),
            ("5 4 * * 7", &["0 5 4 * * 1"]),
            ("0 9-17/4 * * 1-5", &["0 0 9,13,17 * * 2,3,4,5,6"]),
            ("0 0 * * 5-7", &["0 0 0 * * 1,6,7"]),
            ("0 0 * * 0-6", &["0 0 0 * * *"]),
            ("0 0 * * 0-7", &["0 0 0 * * *"]),
            ("0 0 * JAN-mar,12 Mon,Fri", &["0 0 0 * 1,2,3,12 2,6"]),
            ("0 12 13 * 5", &["0 0 12 13 * *", "0 0 12 * * 6"]),
            ("0 12 */2 * 5", &["0 0 12 1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31 * 6"]),
            ("0 12 13 * *", &["0 0 12 13 * *"]),
            ("  0   12\t13 * *", &["0 0 12 13 * *"]),
        ] {
            assert_eq!(translate(posix).unwrap(), expected, "{posix}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "@daily",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * 0 *",
            "* * * * 8",
            "5/15 * * * *",
            "*/0 * * * *",
            "*/x * * * *",
            "5-1 * * * *",
            "-5 * * * *",
            "+5 * * * *",
            "1, * * * *",
            "1-2-3 * * * *",
            "* * * * fri-mon",
            "* * * * L",
            "* * ? * *",
            "* * * foo *",
            "0 0 30 2 *",
            "0 0 31 4,6 *",
            "999 * * * *",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_next_time_is_that_of_a_calendar() {
        let next = |text: &str, after: &str| {
            let after: DateTime<Utc> = after.parse().unwrap();
            text.parse::<Schedule>().unwrap().next(after).unwrap().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        };
        // 2026-11-23 is a Monday.
        for (text, expected) in [
            ("* * * * *", "2026-11-23T18:31:00Z"),
            ("30 18 * * *", "2026-11-24T18:30:00Z"),
            ("*/20 * * * *", "2026-11-23T18:40:00Z"),
            ("0 0 * * 0", "2026-11-29T00:00:00Z"),
            ("0 0 * * 7", "2026-11-29T00:00:00Z"),
            ("0 0 * * 1-5", "2026-11-24T00:00:00Z"),
            ("0 0 * * mon", "2026-11-30T00:00:00Z"),
            // Either sort of day: Friday the 27th comes before the 13th.
            ("0 0 13 * fri", "2026-11-27T00:00:00Z"),
            // Both, since the first begins with `*`: a Friday with an odd number.
            ("0 0 */2 * fri", "2026-11-27T00:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("0 0 1 jan *", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(text, "2026-11-23T18:30:00Z"), expected, "{text}");
        }
    }
}
