//! Did-you-mean: the nearest of some names.

/// The candidate that is nearest to `written`, if one is near enough to be meant: a third of its length in edits
/// (insert, delete, replace, swap of neighbours), at least one; of very short
/// names, none.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > 128 {
        return None;
    }
    let allowed = match written.chars().count() {
        0..3 => 0,
        count => (count / 3).clamp(1, 4),
    };
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 128 && *candidate != written)
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?`, where a candidate is near enough.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// Optimal string alignment distance, case aside.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().map(|c| if c == '_' { '-' } else { c }).collect();
    let b: Vec<char> = b.to_lowercase().chars().map(|c| if c == '_' { '-' } else { c }).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let keys = ["compatibility_date", "compatibility_flags", "main", "modules"];
        assert_eq!(nearest("compatability_date", keys), Some("compatibility_date"));
        assert_eq!(nearest("mian", keys), Some("main"));
        assert_eq!(nearest("compatibility-date", keys), Some("compatibility_date"));
        assert_eq!(nearest("zebra", keys), None);
    }
}
