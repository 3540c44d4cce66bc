//! Templates of files on hosts.
//!
//! A template places values: `{{ … }}`, `if`, `for`, `set x = …`, `raw`, comments, and a handful of filters. It has no
//! statements or operators that make text grow (`~`, `+`, `*`, macros, captures, recursion), so that neither its time
//! (fuel) nor its memory (a bounded output) depends on what a commit makes of it.
//!
//! **Invariant:** `secret("name")` and `tunnel.name.token` put a placeholder where they stand by themselves and nowhere else:
//! their value is not known here, so that a filter would change the placeholder instead of the value.

mod known;
mod unit;

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::limit;
use crate::document::shown;
use crate::model::{ResourceName, placeholder, token_label};

use known::{SecretUse, Tunnels, refuse};

pub(super) use known::Known;

/// Instructions of one rendering.
const FUEL: u64 = 200_000;
/// What begins a placeholder.
const MARK: char = '\u{2983}';
const MISUSE: &str = "the value of a secret can only be placed as it is: no filter, operator or variable text around it";

/// What a template rendered to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// The secrets whose placeholders are in `text`.
    pub(super) secrets: BTreeSet<ResourceName>,
    /// The tunnels whose tokens' placeholders are in `text`.
    pub(super) tokens: BTreeSet<ResourceName>,
}

/// What the values that a template places may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Anything.
    AsTheyAre,
    /// What a unit takes: a value is a part of its line and of its word, and means nothing to systemd.
    InUnit,
}

/// What is wrong with a template, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TemplateFault {
    pub(super) message: String,
    pub(super) span: Option<Range<usize>>,
    pub(super) hint: Option<String>,
}

/// Renders `source`.
pub(super) fn render(
    source: &str,
    context: &serde_json::Value,
    known: &Known<'_>,
    values: Values,
) -> Result<Rendered, TemplateFault> {
    check_statements(source)?;
    let used = Arc::new(Mutex::new(Vec::new()));
    let output = Arc::new(Mutex::new(Vec::new()));
    let mut engine = engine(known, (&used, &output), values);
    engine.set_fuel(Some(FUEL));
    let template = engine.template_from_named_str("template", source).map_err(|error| fault(&error, source))?;
    let mut bounded = Bounded(Arc::clone(&output));
    template.render_captured_to(minijinja::value::Serde(context), &mut bounded).map_err(|error| fault(&error, source))?;
    let output = std::mem::take(&mut *output.lock().unwrap_or_else(PoisonError::into_inner));
    let text = String::from_utf8(output).map_err(|_| TemplateFault {
        message: "the template rendered text that is not UTF-8".to_owned(),
        span: None,
        hint: None,
    })?;
    let used = std::mem::take(&mut *used.lock().unwrap_or_else(PoisonError::into_inner));
    let placed = text.chars().filter(|c| *c == MARK).count();
    if placed != used.len() {
        return Err(TemplateFault { message: MISUSE.to_owned(), span: None, hint: None });
    }
    let mut rendered = Rendered { text, secrets: BTreeSet::new(), tokens: BTreeSet::new() };
    for use_of in used {
        match use_of {
            SecretUse::Secret(name) => rendered.secrets.insert(name),
            SecretUse::Token(tunnel) => rendered.tokens.insert(tunnel),
        };
    }
    Ok(rendered)
}

/// What is shared by the formatter and who renders.
type Shared<T> = Arc<Mutex<Vec<T>>>;

fn engine<'a>(known: &Known<'_>, (used, output): (&Shared<SecretUse>, &Shared<u8>), values: Values) -> Environment<'a> {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_recursion_limit(64);
    engine.set_debug(true);
    engine.set_syntax(minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default());
    engine.add_filter("default", minijinja::filters::default);
    engine.add_filter("upper", minijinja::filters::upper);
    engine.add_filter("lower", minijinja::filters::lower);
    engine.add_filter("trim", minijinja::filters::trim);
    engine.add_filter("length", minijinja::filters::length);
    engine.add_filter("items", minijinja::filters::items);
    engine.add_filter("tojson", |value: Value| {
        serde_json::to_string(&value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
    });
    engine.add_test("defined", minijinja::tests::is_defined);
    engine.add_test("undefined", minijinja::tests::is_undefined);
    engine.add_global("tunnel", Value::from_object(Tunnels(known.tunnels.clone())));
    let secrets = known.secrets.clone();
    engine.add_function("secret", move |name: &str| -> Result<Value, Error> {
        let parsed: ResourceName = name.parse().map_err(|error: crate::model::NameError| refuse(error.to_string()))?;
        if !secrets.contains(&parsed) {
            return Err(refuse(format!("there is no `secret.{}`", shown(name))));
        }
        Ok(Value::from_object(SecretUse::Secret(parsed)))
    });
    let (used, output) = (Arc::clone(used), Arc::clone(output));
    engine.set_formatter(move |out, state, value| {
        if let Some(use_of) = value.downcast_object_ref::<SecretUse>() {
            used.lock().unwrap_or_else(PoisonError::into_inner).push(use_of.clone());
            let name = match use_of {
                SecretUse::Secret(name) => name.to_string(),
                SecretUse::Token(tunnel) => token_label(tunnel),
            };
            return out.write_str(&placeholder(&name)).map_err(|_| Error::from(ErrorKind::WriteFailure));
        }
        let text = value.to_string();
        if text.contains(MARK) || text.to_lowercase().contains("trunkline-secret") {
            return Err(Error::new(ErrorKind::InvalidOperation, MISUSE));
        }
        match values {
            Values::AsTheyAre => minijinja::escape_formatter(out, state, value),
            Values::InUnit => {
                let placed = unit::placed(&output.lock().unwrap_or_else(PoisonError::into_inner), &text)?;
                out.write_str(&placed).map_err(|_| Error::from(ErrorKind::WriteFailure))
            }
        }
    });
    engine
}

struct Bounded(Shared<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if output.len() + bytes.len() > usize::try_from(limit::TEMPLATE).unwrap_or(usize::MAX) {
            return Err(std::io::Error::other("the template renders to more than the limit"));
        }
        output.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Refuses what makes text grow before anything runs.
fn check_statements(source: &str) -> Result<(), TemplateFault> {
    if let Some(at) = source.find(MARK) {
        return Err(TemplateFault {
            message: "the character U+2983 is reserved for the placeholders of secrets".to_owned(),
            span: Some(at..at + MARK.len_utf8()),
            hint: Some("remove it".to_owned()),
        });
    }
    let mut at = 0;
    while let Some(open) = source[at..].find('{').map(|found| at + found) {
        let (close, is_block) = match source[open..].get(..2) {
            Some("{{") => ("}}", false),
            Some("{%") => ("%}", true),
            Some("{#") => ("#}", false),
            _ => {
                at = open + 1;
                continue;
            }
        };
        let inner_start = open + 2;
        // What is not closed is the engine's fault to tell.
        let Some(length) = source[inner_start..].find(close) else { return Ok(()) };
        let inner = &source[inner_start..inner_start + length];
        at = inner_start + length + 2;
        if close == "#}" {
            continue;
        }
        let bare = inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        check_tag(bare, is_block).map_err(|(message, hint)| TemplateFault {
            message,
            span: Some(open..at),
            hint: Some(hint.to_owned()),
        })?;
        if is_block && bare == "raw" {
            let Some(end) = source[at..].find("endraw") else { return Ok(()) };
            at += end;
        }
    }
    Ok(())
}

fn check_tag(bare: &str, is_block: bool) -> Result<(), (String, &'static str)> {
    let words: Vec<&str> = bare.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let first = words.first().copied().unwrap_or_default();
    if is_block {
        let known = ["if", "elif", "else", "endif", "for", "endfor", "set", "raw", "endraw"];
        if !known.contains(&first) {
            return Err((format!("templates have no statement `{}`", shown(first)), "use `if`, `for`, `set x = …` or `raw`"));
        }
        if first == "set" && !bare.contains('=') || first == "for" && words.contains(&"recursive") {
            return Err(("templates have no captures and no recursion".to_owned(), "use `set x = …` or a plain `for`"));
        }
    }
    match bare.chars().find(|c| matches!(c, '~' | '+' | '*')) {
        Some(operator) => Err((
            format!("templates have no operator `{operator}`"),
            "place values side by side, `{{ a }}{{ b }}`, and compute in `vars`",
        )),
        None => Ok(()),
    }
}

fn fault(error: &Error, source: &str) -> TemplateFault {
    let mut root: &Error = error;
    while let Some(inner) = std::error::Error::source(root).and_then(|inner| inner.downcast_ref::<Error>()) {
        root = inner;
    }
    let detail = root.detail().map_or_else(|| root.kind().to_string(), str::to_owned);
    let message = match root.kind() {
        ErrorKind::OutOfFuel => "the template takes too many steps".to_owned(),
        ErrorKind::WriteFailure => format!("the template renders to more than {} bytes", limit::TEMPLATE),
        ErrorKind::UndefinedError => match root.detail() {
            Some(detail) => format!("undefined value: {}", shown(detail)),
            None => "undefined value".to_owned(),
        },
        _ => {
            let detail: String = detail
                .chars()
                .flat_map(|c| if c == '\n' { ' '.to_string() } else { shown(&c.to_string()) }.chars().collect::<Vec<_>>())
                .collect();
            detail
        }
    };
    let given = std::error::Error::source(root).and_then(|source| source.downcast_ref::<unit::Hint>());
    let hint = match root.kind() {
        _ if given.is_some() => given.map(ToString::to_string),
        ErrorKind::UndefinedError => Some(
            "a template sees `environment`, `tenant`, `target`, `host`, `vars`, `secret(\"name\")` and `tunnel.name.token`"
                .to_owned(),
        ),
        _ => None,
    };
    let span = error.range().or_else(|| root.range()).filter(|span| span.end <= source.len() && span.start <= span.end);
    let line = error.line().or_else(|| root.line());
    TemplateFault { message, span: span.or_else(|| line_span(source, line?)), hint }
}

fn line_span(source: &str, line: usize) -> Option<Range<usize>> {
    let start: usize = source.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let length = source.get(start..)?.lines().next().map_or(0, str::len);
    Some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str) -> Result<Rendered, TemplateFault> {
        let context = serde_json::json!({
            "environment": "production", "tenant": "default", "target": { "name": "fra1", "region": null, "labels": {} },
            "vars": { "port": 80, "names": ["a", "b"], "big": "x".repeat(100_000) },
        });
        let secrets = ["db", "api"].map(|name| name.parse().unwrap()).into();
        let on = |targets: &[&str]| targets.iter().map(|target| target.parse().unwrap()).collect();
        let tunnels = [("edge".parse().unwrap(), on(&["main"])), ("both".parse().unwrap(), on(&["main", "other"]))].into();
        render(source, &context, &Known { secrets: &secrets, tunnels }, Values::AsTheyAre)
    }

    #[test]
    fn values_are_placed() {
        let text = rendered(
            "{# c ~ #}{% for n in vars.names %}{{ n|upper }}{{ vars.port }};{% endfor %}{% if vars.port > 1 %}y{% endif %} {{ vars.names|tojson }} <&>\n",
        );
        assert_eq!(text.unwrap().text, "A80;B80;y [\"a\",\"b\"] <&>\n");
    }

    #[test]
    fn secrets_are_placeholders_and_recorded() {
        let out = rendered("{% set s = secret('db') %}{{ s }}:{{ s }}:{{ secret(\"api\") }}").unwrap();
        assert_eq!(out.text, format!("{0}:{0}:{1}", placeholder("db"), placeholder("api")));
        assert_eq!(out.secrets, ["db", "api"].map(|name| name.parse().unwrap()).into());
        assert!(rendered("{% if secret('db') %}x{% endif %}").unwrap().secrets.is_empty());
    }

    #[test]
    fn the_token_of_a_tunnel_is_a_placeholder_and_recorded() {
        let out = rendered("{{ tunnel.edge.token }} {{ tunnel['edge'].token }}").unwrap();
        assert_eq!(out.text, format!("{0} {0}", placeholder("tunnel.edge.token")));
        assert_eq!((out.tokens, out.secrets), (["edge".parse().unwrap()].into(), BTreeSet::new()));
        for (source, says) in [
            ("{{ tunnel.other.token }}", "there is no `tunnel.other` in this environment"),
            ("{{ tunnel.both.token }}", "is on `main`, `other`"),
            ("{{ tunnel.edge.id }}", "its `token` alone"),
        ] {
            let fault = rendered(source).unwrap_err();
            assert!(fault.message.contains(says) && fault.span.is_some(), "{source}: {fault:?}");
        }
    }

    #[test]
    fn a_secret_that_anything_is_done_to_is_refused() {
        for use_of in [
            "{{ secret('db')|upper }}",
            "{{ secret('db')|tojson }}",
            "{{ secret('db')|trim }}",
            "{{ secret('db')|length }}",
            "{{ [secret('db')] }}",
            "{{ {'a': secret('db')} }}",
            "{{ [secret('db')]|tojson }}",
            "{{ secret('db') ~ 'x' }}",
            "{{ secret('db')[1:] }}",
            "{{ secret('missing') }}",
            "{{ secret('A_B') }}",
            "{{ secret(1) }}",
            "\u{2983}trunkline-secret:db\u{2984}",
            "{{ '\u{2983}' }}",
            "{{ secret('db')|lower }}",
            "{{ tunnel }}",
            "{{ tunnel.edge }}",
            "{{ tunnel|tojson }}",
            "{{ tunnel.edge.token|upper }}",
            "{{ [tunnel.edge.token] }}",
            "{% for name in tunnel %}{{ name }}{% endfor %}",
            "{{ '\\u2983trunkline-secret:db\\u2984' }}",
        ] {
            assert!(rendered(use_of).is_err(), "{use_of}: {:?}", rendered(use_of));
        }
    }

    #[test]
    fn what_grows_or_runs_on_is_refused() {
        for bomb in [
            "{% macro m() %}{% endmacro %}",
            "{% set x %}a{% endset %}",
            "{% include 'x' %}",
            "{{ 'a' * 1000000 }}",
            "{% for a in vars.big %}{% for b in vars.big %}{% endfor %}{% endfor %}",
            "{% for a in vars.big %}{{ vars.big }}{% endfor %}",
            "{{ missing }}",
            "{{ vars.missing }}",
            "{{",
            "{% if %}",
            "{% for x in vars.names recursive %}{{ loop(vars.names) }}{% endfor %}",
            "{% filter upper %}x{% endfilter %}",
            "{% raw %}{% endraw %}{% macro m() %}{% endmacro %}",
            "{{ range(10) }}",
        ] {
            assert!(rendered(bomb).is_err(), "{bomb}");
        }
        assert_eq!(rendered("{% raw %}{% macro %} ~{% endraw %}").unwrap().text, "{% macro %} ~");
    }

    #[test]
    fn faults_have_a_place() {
        let source = "a\n{{ vars.missing }}\n";
        let fault = rendered(source).unwrap_err();
        let span = fault.span.unwrap();
        assert!(span.start >= 2 && span.end < source.len(), "{span:?}");
        assert!(fault.hint.unwrap().contains("vars"));
    }
}
