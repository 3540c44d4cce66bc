//! Fields of one value each, as the kinds of hosts have them: read, checked, and told where they stand.

use super::Writing;
use crate::definition::scalar::Refused;
use crate::document::{Fault, Placed, did_you_mean, shown};
use crate::model::Value;

/// What is wrong with a text, or what it means.
pub(super) type Check = fn(&str) -> Result<String, Refused>;

/// Text that passes `check`.
pub(super) fn text(
    writing: &mut Writing<'_, '_, '_>,
    field: &str,
    written: Option<&Placed<String>>,
    check: Check,
) -> Option<Value> {
    let written = written?;
    writing.trace(field, Some(written.place));
    writing.reading.check(written.place, check(&written.value)).map(Value::Text)
}

/// Several of them.
pub(super) fn list(
    writing: &mut Writing<'_, '_, '_>,
    field: &str,
    written: Option<&Placed<Vec<Placed<String>>>>,
    check: Check,
) -> Option<Value> {
    let written = written?;
    writing.trace(field, Some(written.place));
    let mut item = |item: &Placed<String>| writing.reading.check(item.place, check(&item.value)).map(Value::Text);
    Some(Value::List(written.value.iter().filter_map(&mut item).collect()))
}

/// One of `words`; the first where nothing is said.
pub(super) fn word(writing: &mut Writing<'_, '_, '_>, field: &str, written: Option<&Placed<String>>, words: &[&str]) -> Value {
    if let Some(written) = written {
        writing.trace(field, Some(written.place));
        if words.contains(&written.value.as_str()) {
            return Value::text(&written.value);
        }
        let all = || words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let hint = did_you_mean(&written.value, words.iter().copied()).unwrap_or_else(|| format!("write one of {}", all()));
        let message = format!("`{}` is not known here", shown(&written.value));
        writing.reading.fault(Fault::new(written.place, message).hint(hint));
    }
    Value::text(words.first().copied().unwrap_or_default())
}

/// What is said only where it is true.
pub(super) fn flag(writing: &mut Writing<'_, '_, '_>, field: &str, written: Option<&Placed<bool>>) -> Option<Value> {
    let written = written?;
    writing.trace(field, Some(written.place));
    written.value.then_some(Value::Bool(true))
}

/// A whole number from 1 to `most`.
pub(super) fn number(writing: &mut Writing<'_, '_, '_>, field: &str, written: Option<&Placed<i64>>, most: i64) -> Option<Value> {
    let written = written?;
    writing.trace(field, Some(written.place));
    if (1..=most).contains(&written.value) {
        return Some(Value::Integer(written.value));
    }
    let fault = Fault::new(written.place, format!("{} is out of bounds", written.value));
    writing.reading.fault(fault.hint(format!("write a number from 1 to {most}")));
    None
}
