//! The scalars of applications that PM2 runs.
//!
//! **Invariant:** what passes means to PM2 what it means here: no name is a path, a number, an option or several, no path
//! is a command, and no variable is one of PM2's own settings, which stand among the variables.

use crate::definition::scalar::{Refused, account, host_path, refuse};
use crate::document::shown;

/// Parts of names that PM2 takes for files. Source: `Common.isConfigFile` of PM2.
const FILES: [&str; 5] = [".js", ".cjs", ".mjs", ".yml", ".yaml"];

/// Settings of PM2 that a name would be laid over: it keeps a variable of each application's name.
const SETTINGS: [&str; 16] = [
    "name",
    "env",
    "args",
    "status",
    "script",
    "instances",
    "watch",
    "time",
    "cwd",
    "version",
    "namespace",
    "username",
    "uid",
    "gid",
    "autorestart",
    "autostart",
];

/// What PM2 calls an application.
pub(super) fn name(text: &str) -> Result<String, Refused> {
    let hint = "names are made of letters, digits, `-`, `_` and `.`, and are neither a number, nor `all`, nor those of files";
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_number = text.parse::<f64>().is_ok() || text.starts_with("0x");
    let is_file = FILES.iter().any(|part| text.contains(part));
    if !begins
        || !text.bytes().all(letters)
        || text.len() > 100
        || is_number
        || is_file
        || text == "all"
        || SETTINGS.contains(&text)
    {
        return refuse(format!("`{}` is not a name that PM2 takes for an application's", shown(text)), hint);
    }
    if text.starts_with("pm2-") {
        return refuse(format!("`{text}` is a name of PM2's own modules"), "give it a name that does not begin with `pm2-`");
    }
    Ok(text.to_owned())
}

/// The account, by its name: what is its number without one has no PM2 of its own.
pub(super) fn user(text: &str) -> Result<String, Refused> {
    match account(text) {
        Ok(_) if text.bytes().all(|b| b.is_ascii_digit()) => {
            refuse(format!("`{text}` is the number of an account"), "write its name, such as `deploy`")
        }
        checked => checked,
    }
}

/// A path that is one word wherever it comes by: PM2 hands a script with a space in it to a shell.
pub(super) fn path(text: &str) -> Result<String, Refused> {
    if text.chars().any(|c| c.is_whitespace() || matches!(c, '$' | '%' | '~' | '@')) {
        let message = format!("the path `{}` holds what PM2 or systemd would read otherwise", shown(text));
        return refuse(message, "write a path without spaces, `$`, `%`, `~` and `@`");
    }
    host_path(text)
}

/// The folder of a path.
pub(super) fn folder(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder,
        _ => "/",
    }
}

/// What runs a script.
pub(super) fn interpreter(text: &str) -> Result<String, Refused> {
    match text {
        "node" | "none" => Ok(text.to_owned()),
        _ if text.starts_with('/') => path(text),
        _ => refuse(format!("`{}` is no interpreter", shown(text)), "write `node`, `none`, or an absolute path"),
    }
}

/// One argument. PM2 keeps no control characters apart from text.
pub(super) fn argument(text: &str) -> Result<String, Refused> {
    if !text.is_empty() && !text.chars().any(char::is_control) && text.len() <= 16 * 1024 {
        return Ok(text.to_owned());
    }
    refuse("this cannot be an argument for PM2", "an argument is one line, not empty, of at most 16 KiB")
}

/// A variable that PM2 takes for nothing else: it lays the variables over its own settings, which are in lower case.
pub(super) fn variable(text: &str) -> Result<String, Refused> {
    const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"];
    let ours = ["TRUNKLINE_", "PM2_"].into_iter().find(|begin| text.starts_with(begin));
    if let Some(begin) = ours {
        return refuse(format!("the variable `{}` is not yours to set", shown(text)), format!("`{begin}` is taken"));
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) && !PROXIES.contains(&text) || text.starts_with("__") {
        let message = format!("the variable `{}` could be one of PM2's own settings", shown(text));
        return refuse(message, "write variables in upper case");
    }
    Ok(text.to_owned())
}

/// Memory in PM2's words.
pub(super) fn memory(text: &str) -> Result<String, Refused> {
    let digits = text.strip_suffix(['K', 'M', 'G']).unwrap_or_default();
    if !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') {
        return Ok(text.to_owned());
    }
    refuse(format!("`{}` is no amount of memory", shown(text)), "a whole number and `K`, `M` or `G`, such as `512M`")
}

/// A cron expression of five fields, of numbers only.
pub(super) fn cron(text: &str) -> Result<String, Refused> {
    const BOUNDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    let fields: Vec<&str> = text.split(' ').collect();
    let number = |text: &str, (low, high)| {
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|number| digits && (low..=high).contains(number))
    };
    let item = |item: &str, bounds: (u32, u32)| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let range_is_good = match range.split_once('-') {
            Some((from, to)) => number(from, bounds).zip(number(to, bounds)).is_some_and(|(from, to)| from <= to),
            // Without a range, a step has nothing to step through.
            None => range == "*" || step.is_none() && number(range, bounds).is_some(),
        };
        range_is_good && step.is_none_or(|step| number(step, (1, bounds.1.max(1))).is_some())
    };
    let good =
        fields.len() == 5 && fields.iter().zip(BOUNDS).all(|(field, bounds)| field.split(',').all(|part| item(part, bounds)));
    if good {
        return Ok(text.to_owned());
    }
    let hint = "five fields of numbers: minute, hour, day of the month, month, day of the week; such as `0 4 * * *`";
    refuse(format!("`{}` is no cron expression", shown(text)), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_else_to_pm2() {
        for good in ["api", "ads-api", "api_2", "api.v2", "2fast"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "all",
            "0",
            "12",
            "1e3",
            "inf",
            "nan",
            "-f",
            "--help",
            "/x/",
            "a b",
            "../x",
            "x.json",
            "app.js",
            "x.config.cjs",
            "x.yml",
            "0x1f",
            "status",
            "pm2-logrotate",
            "a\nb",
            "a/b",
            "ä",
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_variables_and_times_mean_to_pm2_what_they_mean_here() {
        for bad in ["/a b", "rel", "/a/../b", "~/x", "/x$HOME", "/x%h", "/x@y"] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!((folder("/srv/api/x.js"), folder("/x.js")), ("/srv/api", "/"));
        for bad in ["pm_exec_path", "uid", "name", "__proto__", "PM2_HOME", "TRUNKLINE_DEFINITION"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
        assert!(variable("NODE_ENV").is_ok() && variable("https_proxy").is_ok());
        for good in ["0 4 * * *", "*/5 * * * *", "0,30 8-18/2 * 1-6 1-5"] {
            assert!(cron(good).is_ok(), "{good}");
        }
        for bad in
            ["", "* * * *", "60 * * * *", "* * 0 * *", "5/5 * * * *", "a b c d e", "* * * * * *", "9-3 * * * *", "*/0 * * * *"]
        {
            assert!(cron(bad).is_err(), "{bad}");
        }
        assert!(memory("512M").is_ok() && memory("512m").is_err() && memory("0M").is_err());
        assert!(interpreter("node").is_ok() && interpreter("/usr/bin/python3").is_ok() && interpreter("node@18").is_err());
        assert!(user("deploy").is_ok() && user("1000").is_err() && user("a b").is_err());
        assert!(argument("a b").is_ok() && argument("").is_err() && argument("a\nb").is_err());
    }
}
