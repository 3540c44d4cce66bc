//! What is put into every field: what a shell, systemd, `ssh`, apt, Docker, a path, a template or a terminal would take for
//! more than text. From THREATS, X1 to X4.

/// A file that none of the payloads may make, wherever a test looks for it.
pub(super) const CANARY: &str = "/run/trunkline-canary";

/// A payload, by a name that stays.
pub(super) struct Payload {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// Names and texts; `$C` stands for the canary.
const TEXTS: [(&str, &str); 65] = [
    ("semicolon", ";touch $C"),
    ("substitution", "$(touch $C)"),
    ("backticks", "`touch $C`"),
    ("pipe", "|touch $C"),
    ("and", "&&touch $C"),
    ("or", "||touch $C"),
    ("background", "&touch $C&"),
    ("redirect", ">$C"),
    ("input", "<$C"),
    ("IFS", "${IFS}touch${IFS}$C"),
    ("variable", "$HOME"),
    ("braces", "{touch,$C}"),
    ("star", "*"),
    ("tilde", "~root"),
    ("single-quote", "'"),
    ("double-quote", "\""),
    ("single-quoted", "'; touch $C; '"),
    ("double-quoted", "\"; touch $C; \""),
    ("backslash", "\\"),
    ("hex-escape", "\\x0aExecStartPost=/usr/bin/touch $C"),
    ("line", "a\nb"),
    ("exec-line", "\nExecStartPost=/usr/bin/touch $C"),
    ("install-section", "\n[Install]\nWantedBy=multi-user.target\n"),
    ("carriage-return", "a\rb"),
    ("NUL", "a\0b"),
    ("tab", "a\tb"),
    ("vertical-tab", "a\u{b}b"),
    ("escape", "\u{1b}[31m"),
    ("C1", "a\u{9b}31m"),
    ("right-to-left", "a\u{202e}b"),
    ("zero-width", "a\u{200b}b"),
    ("line-separator", "a\u{2028}b"),
    ("byte-order-mark", "\u{feff}a"),
    ("homoglyph", "p\u{430}ypal"),
    ("short-option", "-x"),
    ("long-option", "--help"),
    ("two-hyphens", "--"),
    ("ssh-option", "-oProxyCommand=touch $C"),
    ("ssh-address", "ssh://-oProxyCommand=touch%20$C"),
    ("apt-option", "-oAPT::Update::Pre-Invoke::=touch $C"),
    ("docker-option", "--privileged"),
    ("docker-volume", "--volume=/:/host"),
    ("mount-option", ",readonly=false,source=/"),
    ("parent", "../../etc/cron.d/x"),
    ("parent-inside", "/../../x"),
    ("absolute", "/etc/cron.d/x"),
    ("slash", "a/b"),
    ("dot", "."),
    ("dots", ".."),
    ("specifier", "%n"),
    ("two-percent", "%%"),
    ("percent-encoded", "%2e%2e%2f"),
    ("percent-NUL", "%00"),
    ("template-secret", "{{ secret(\"s\") }}"),
    ("template-statement", "{% for x in y %}"),
    ("candidate", "{}"),
    ("placeholder", "\u{2983}trunkline-secret:s\u{2984}"),
    ("space", "a b"),
    ("space-before", " a"),
    ("space-after", "a "),
    ("empty", ""),
    ("colon", "a:b"),
    ("equals", "A=b"),
    ("comment", "# a"),
    ("at-file", "@/etc/passwd"),
];

/// All of them; the last is longer than anything that is taken as a name, an argument or a line.
pub(super) fn payloads() -> Vec<Payload> {
    let texts = TEXTS.iter().map(|(name, text)| Payload { name, text: text.replace("$C", CANARY) });
    texts.chain([Payload { name: "long", text: "a".repeat(70_000) }]).collect()
}

/// The two forms in which a payload stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// It is all that the field holds.
    Alone,
    /// It stands within what the field may hold.
    Within,
}

impl Form {
    pub(super) const BOTH: [Self; 2] = [Self::Alone, Self::Within];
}

/// Where the payload stands in the text of a place.
pub(super) const HOLE: char = '◆';

/// A definition with a payload in its hole, and what the field holds then.
pub(super) fn filled(place: &str, form: Form, payload: &str) -> (String, String) {
    let hole = place.find(HOLE).unwrap_or_else(|| panic!("no hole in {place}"));
    let begin = place[..hole].rfind('"').unwrap_or_else(|| panic!("no text around the hole in {place}"));
    let end = hole + place[hole..].find('"').unwrap();
    // What a place holds is written without escapes but these.
    let plain = |text: &str| text.replace("\\n", "\n").replace("\\\\", "\\");
    let value = match form {
        Form::Alone => payload.to_owned(),
        Form::Within => plain(&place[begin + 1..end]).replace(HOLE, payload),
    };
    (format!("{}{}{}", &place[..begin], quoted(&value), &place[end + 1..]), value)
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
