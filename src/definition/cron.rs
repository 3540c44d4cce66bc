//! Cron expressions in Cloudflare's dialect: five fields, in UTC, and the weekday 1 is Sunday.
//!
//! Source: the documentation of cron triggers for Workers (minute, hour, day of the month with `L` and `W`, month,
//! weekday with `L` and `#`); the scheduler that workerd bundles counts weekdays the same way.

use super::scalar::Refused;
use crate::document::shown;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

struct Field {
    name: &'static str,
    range: (u32, u32),
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", range: (0, 59), names: &[] },
    Field { name: "hour", range: (0, 23), names: &[] },
    Field { name: "day of the month", range: (1, 31), names: &[] },
    Field { name: "month", range: (1, 12), names: &MONTHS },
    Field { name: "weekday", range: (1, 7), names: &DAYS },
];

/// Checks a cron expression; fields are joined with single spaces.
pub(super) fn cron(text: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    if parts.len() != 5 {
        return Err(Refused {
            message: format!("the cron expression `{}` has {} fields instead of 5", shown(text), parts.len()),
            hint: Some("write minute, hour, day of the month, month and weekday, such as `*/5 * * * *`".to_owned()),
        });
    }
    for (field, part) in FIELDS.iter().zip(&parts) {
        for item in part.split(',') {
            check(field, item).map_err(|hint| Refused {
                message: format!("`{}` is not a {} of a cron expression", shown(item), field.name),
                hint: Some(hint),
            })?;
        }
    }
    Ok(parts.join(" "))
}

fn check(field: &Field, item: &str) -> Result<(), String> {
    let (low, high) = field.range;
    let expected = match field.name {
        "weekday" => "weekdays are 1 to 7 or SUN to SAT, and 1 is Sunday".to_owned(),
        "month" => "months are 1 to 12 or JAN to DEC".to_owned(),
        name => format!("a {name} is {low} to {high}"),
    };
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (item, None),
    };
    if let Some(step) = step {
        let good = number(step).is_some_and(|step| (1..=high).contains(&step));
        if !good {
            return Err(format!("a step is 1 to {high}"));
        }
    }
    if range == "*" || step.is_none() && special(field, range) {
        return Ok(());
    }
    match range.split_once('-') {
        Some((from, to)) => match (value(field, from), value(field, to)) {
            (Some(from), Some(to)) if from <= to => Ok(()),
            (Some(_), Some(_)) => Err("a range goes upwards".to_owned()),
            _ => Err(expected),
        },
        None => value(field, range).map(|_| ()).ok_or(expected),
    }
}

fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn value(field: &Field, text: &str) -> Option<u32> {
    let (low, high) = field.range;
    let named = field.names.iter().zip(low..).find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| value);
    named.or_else(|| number(text).filter(|value| (low..=high).contains(value)))
}

/// `L`, `LW`, `15W` of days of the month; `L`, `6L`, `6#3` of weekdays.
fn special(field: &Field, item: &str) -> bool {
    let is_day = |text: &str| value(field, text).is_some();
    match field.name {
        "day of the month" => matches!(item, "L" | "LW" | "W") || item.strip_suffix('W').is_some_and(is_day),
        "weekday" => {
            item == "L"
                || item.strip_suffix('L').is_some_and(is_day)
                || item.split_once('#').is_some_and(|(day, nth)| is_day(day) && matches!(nth, "1" | "2" | "3" | "4" | "5"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_is_cloudflares() {
        for good in [
            "*/5 * * * *",
            "0 17 * * SUN",
            "10 7 * * MON-FRI",
            "0 15 1 * *",
            "0 18 * * 6L",
            "59 23 LW * *",
            "0,30 0-6/2 * JAN,jul 2-6",
            "0 0 15W * 6#3",
            "0  0 L * *",
        ] {
            assert!(cron(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 0",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "1, * * * *",
            "* * * * SUN-",
            "+1 * * * *",
            "* * * * MON#6",
            "L * * * *",
        ] {
            assert!(cron(bad).is_err(), "{bad}");
        }
        assert!(cron("* * * * 0").unwrap_err().hint.unwrap().contains("1 is Sunday"));
    }
}
