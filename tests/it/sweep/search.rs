//! Is a planted secret among bytes?
//!
//! Goes in: planted secrets and the bytes of a sink. Comes out: which secret is there, in which form.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sha2::Digest as _;

/// No form is looked for that has fewer bytes: it would be found by chance.
const SHORTEST: usize = 8;

/// Of a long secret, pieces of this many bytes are looked for as well.
const PIECE: usize = 16;

/// A secret in one of its forms.
struct Needle {
    secret: String,
    form: &'static str,
    bytes: Vec<u8>,
}

/// What to look for.
pub(super) struct Needles {
    needles: Vec<Needle>,
    by_beginning: HashMap<[u8; SHORTEST], Vec<usize>>,
    /// Whether anything begins with four bytes of this hash: most places of most sinks need no other look.
    beginnings: Vec<bool>,
}

impl Default for Needles {
    fn default() -> Self {
        Self { needles: Vec::new(), by_beginning: HashMap::new(), beginnings: vec![false; 1 << 20] }
    }
}

fn hash(four: [u8; 4]) -> usize {
    (u32::from_le_bytes(four).wrapping_mul(2_654_435_769) >> 12) as usize
}

impl Needles {
    /// Looks for `value` in every form from now on.
    pub(super) fn plant(&mut self, secret: &str, value: &[u8]) {
        for (form, bytes) in forms(value) {
            self.add(secret, form, bytes);
        }
    }

    /// Looks for the unkeyed digests of `value` from now on.
    pub(super) fn plant_digests(&mut self, secret: &str, value: &[u8]) {
        for (form, bytes) in forms(value).into_iter().filter(|(form, _)| form.starts_with("sha")) {
            self.add(secret, form, bytes);
        }
    }

    fn add(&mut self, secret: &str, form: &'static str, bytes: Vec<u8>) {
        if let Some(beginning) = bytes.first_chunk::<SHORTEST>() {
            let [a, b, c, d, ..] = *beginning;
            self.beginnings[hash([a, b, c, d])] = true;
            self.by_beginning.entry(*beginning).or_default().push(self.needles.len());
            self.needles.push(Needle { secret: secret.to_owned(), form, bytes });
        }
    }

    /// `secret as form`, for each that is there.
    pub(super) fn search(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, window) in bytes.windows(SHORTEST).enumerate() {
            let &[a, b, c, d, ..] = window else { continue };
            if !self.beginnings[hash([a, b, c, d])] {
                continue;
            }
            let beginning: [u8; SHORTEST] = window.try_into().unwrap();
            for needle in self.by_beginning.get(&beginning).into_iter().flatten().map(|&index| &self.needles[index]) {
                let hit = format!("{} as {}", needle.secret, needle.form);
                if bytes[at..].starts_with(&needle.bytes) && !found.contains(&hit) {
                    found.push(hit);
                }
            }
        }
        found
    }
}

/// Every form in which a secret may be written down, and the unkeyed digests of it.
pub(super) fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms: Vec<(&'static str, Vec<u8>)> = vec![("raw", value.to_vec())];
    let mut add = |form, text: String| forms.push((form, text.into_bytes()));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    add("hex", hex(value));
    add("hex, upper case", hex(value).to_uppercase());
    let percent = |all: bool, upper: bool| -> String {
        let kept = |byte: u8| !all && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        let sign = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        value.iter().map(|&byte| if kept(byte) { char::from(byte).to_string() } else { sign(byte) }).collect()
    };
    add("percent", percent(false, true));
    add("percent, lower case", percent(false, false));
    add("percent, all", percent(true, true));
    // The characters at the ends depend on what stands beside the value.
    for (shift, form) in ["base64", "base64, 1 before", "base64, 2 before"].into_iter().enumerate() {
        let shifted = [&[0; 2][..shift], value].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&shifted);
            add(form, text[(shift * 4).div_ceil(3)..shifted.len() * 4 / 3].to_owned());
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let json = serde_json::to_string(text).unwrap();
        let json = &json[1..json.len() - 1];
        add("JSON", json.to_owned());
        add("JSON in JSON", json.replace('\\', "\\\\").replace('"', "\\\""));
        add("Debug", text.escape_debug().to_string());
        add("ASCII", text.escape_default().to_string());
        add("shell-quoted", text.replace('\'', "'\\''"));
        add("shell-escaped", text.replace(['\\', '"', '\'', ' ', '$'], "\\$0"));
    }
    add("lossy", String::from_utf8_lossy(value).into_owned());
    let (sha256, sha1) = (sha2::Sha256::digest(value), sha1(value));
    add("sha256", hex(&sha256));
    add("sha256 in base64", STANDARD.encode(sha256)[..42].to_owned());
    forms.push(("sha256 in bytes", sha256.to_vec()));
    let mut add = |form, text: String| forms.push((form, text.into_bytes()));
    add("sha1", sha1);
    // Whatever is done to quotes and the like, plain runs survive it.
    for run in value.split(|byte| !byte.is_ascii_alphanumeric()).filter(|run| run.len() >= 12 && run.len() < value.len()) {
        forms.push(("a run of letters", run.to_vec()));
    }
    if value.len() >= 2 * PIECE {
        forms.extend(value.chunks_exact(PIECE).map(|piece| ("a piece", piece.to_vec())));
    }
    forms
}

/// Git's digest of a value that stands alone in a file, and the plain one, would both be SHA-1; sha1sum makes the plain
/// one without another dependency.
fn sha1(value: &[u8]) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new("sha1sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha1sum (coreutils)");
    child.stdin.take().unwrap().write_all(value).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..40].to_owned()
}

/// `length` random letters and digits.
pub(super) fn random(length: usize) -> String {
    use std::io::Read as _;
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = vec![0; length];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes.iter().map(|&byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

/// A value that every way of quoting changes.
pub(super) fn quoted() -> String {
    format!("{}\"'\\\n\t{} пароль-☃ $HOME %41 <&> {{{{x}}}}\r\n{}", random(14), random(9), random(13))
}

#[test]
fn every_form_of_every_value_is_found_at_every_alignment() {
    let binary: Vec<u8> = [&[0xff, 0xfe, 0, 0xc3], random(30).as_bytes(), &[0x80]].concat();
    for value in [random(8).into_bytes(), random(40).into_bytes(), quoted().into_bytes(), binary] {
        let mut needles = Needles::default();
        needles.plant("planted", &value);
        for (form, bytes) in forms(&value) {
            for before in 0..4 {
                let sink = [&random(before).into_bytes()[..], &bytes, b"\0tail"].concat();
                assert!(!needles.search(&sink).is_empty(), "{form} of {value:?}, {before} before");
            }
        }
        for before in 0..6 {
            for after in 0..3 {
                let text = [random(before).as_bytes(), &value, random(after).as_bytes()].concat();
                for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                    let found = needles.search(encoded.as_bytes());
                    assert!(found.iter().any(|hit| hit.contains("base64")), "{value:?}, {before} before: {found:?}");
                }
            }
        }
        let digest: String = sha2::Sha256::digest(&value).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(needles.search(digest.as_bytes()), ["planted as sha256"]);
        assert!(needles.search(random(100_000).as_bytes()).is_empty(), "found where it is not");
    }
}

#[test]
fn a_piece_of_a_long_value_is_found() {
    let value = random(300);
    let mut needles = Needles::default();
    needles.plant("planted", value.as_bytes());
    assert_eq!(needles.search(&value.as_bytes()[100..131]), ["planted as a piece"]);
}
