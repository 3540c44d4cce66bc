//! What Docker Compose is told: a whole project as JSON.
//!
//! Goes in: fields, and the values of secrets. Comes out: bytes for its standard input, in which nothing is left to replace.

use zeroize::Zeroizing;

use super::{DEFINITION, definition};
use crate::agent::{Fault, Payload};
use crate::model::{Properties, Secret, Value};

/// The value of a variable of a service that is a secret.
pub(super) type Values<'a> = dyn Fn(&str, &str) -> Option<&'a [u8]> + 'a;

/// The project, as Docker Compose is told it.
pub(super) fn declared(name: &str, owner: &str, fields: &Properties, values: &Values<'_>) -> Result<Payload, Fault> {
    // The whole capacity at once: a vector that grows leaves copies behind that nobody wipes.
    let mut bytes = Vec::with_capacity(4 * 1024 * 1024);
    let mut writer = Writer { bytes: &mut bytes, values };
    writer.object(|writer, comma| {
        writer.entry("name", comma, |writer| writer.text(name))?;
        writer.entry("services", comma, |writer| {
            let services = fields.get("services").and_then(Value::as_table).into_iter().flatten();
            writer.object(|writer, comma| {
                for (service, fields) in services {
                    let fields = fields.as_table().ok_or_else(|| Fault::new(format!("the service `{service}` is no table")))?;
                    writer.entry(service, comma, |writer| writer.service(service, owner, fields))?;
                }
                Ok(())
            })
        })?;
        for field in ["networks", "volumes"] {
            if let Some(table) = fields.get(field) {
                writer.entry(field, comma, |writer| writer.value(table))?;
            }
        }
        Ok(())
    })?;
    Ok(Payload::new(Secret::new(bytes)))
}

struct Writer<'w, 'v> {
    bytes: &'w mut Vec<u8>,
    values: &'w Values<'v>,
}

impl Writer<'_, '_> {
    fn object(&mut self, entries: impl FnOnce(&mut Self, &mut bool) -> Result<(), Fault>) -> Result<(), Fault> {
        self.bytes.push(b'{');
        entries(self, &mut false)?;
        self.bytes.push(b'}');
        Ok(())
    }

    fn entry(&mut self, key: &str, comma: &mut bool, value: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if std::mem::replace(comma, true) {
            self.bytes.push(b',');
        }
        self.json(key)?;
        self.bytes.push(b':');
        value(self)
    }

    fn json(&mut self, text: &str) -> Result<(), Fault> {
        serde_json::to_writer(&mut *self.bytes, text).map_err(|error| Fault::system("the project cannot be written", error))
    }

    /// A dollar sign that is meant as one.
    fn text(&mut self, text: &str) -> Result<(), Fault> {
        let mut doubled = Zeroizing::new(String::with_capacity(2 * text.len()));
        for c in text.chars() {
            doubled.push(c);
            if c == '$' {
                doubled.push(c);
            }
        }
        self.json(&doubled)
    }

    fn service(&mut self, service: &str, owner: &str, fields: &Properties) -> Result<(), Fault> {
        let digest = definition(fields);
        let none = Properties::new();
        let table = |field: &str| fields.get(field).and_then(Value::as_table).unwrap_or(&none);
        self.object(|writer, comma| {
            let own = ["environment", "labels", "volumes"];
            for (field, value) in fields.iter().filter(|(field, _)| !own.contains(&field.as_str())) {
                writer.entry(field, comma, |writer| writer.value(value))?;
            }
            writer.entry("labels", comma, |writer| {
                writer.object(|writer, comma| {
                    writer.entry(DEFINITION, comma, |writer| writer.text(&digest))?;
                    writer.entry("trunkline.owner", comma, |writer| writer.text(owner))?;
                    table("labels").iter().try_for_each(|(key, value)| writer.entry(key, comma, |writer| writer.value(value)))
                })
            })?;
            writer.entry("environment", comma, |writer| {
                writer.object(|writer, comma| {
                    table("environment")
                        .iter()
                        .try_for_each(|(name, value)| writer.entry(name, comma, |writer| writer.variable(service, name, value)))
                })
            })?;
            let Some(Value::List(mounts)) = fields.get("volumes") else { return Ok(()) };
            writer.entry("volumes", comma, |writer| {
                writer.list(mounts, |writer, mount| {
                    let mount = mount.as_table().unwrap_or(&none);
                    writer.object(|writer, comma| {
                        mount.iter().try_for_each(|(field, value)| writer.entry(field, comma, |writer| writer.value(value)))?;
                        if mount.get("type").and_then(Value::as_text) == Some("bind") {
                            // A folder that is not there is a mistake, and not one to be made.
                            writer.entry("bind", comma, |writer| {
                                writer.object(|writer, comma| {
                                    writer.entry("create_host_path", comma, |writer| writer.value(&Value::Bool(false)))
                                })
                            })?;
                        }
                        Ok(())
                    })
                })
            })
        })
    }

    fn variable(&mut self, service: &str, name: &str, value: &Value) -> Result<(), Fault> {
        let Value::Secret { .. } = value else { return self.value(value) };
        let bytes = (self.values)(service, name)
            .ok_or_else(|| Fault::new(format!("the value of the variable `{name}` of `{service}` is not at hand")))?;
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| {
            Fault::new(format!("the value of the variable `{name}` of `{service}` is no text"))
                .hint("write it to a `file`, and mount that")
        })?;
        self.text(text)
    }

    fn list(&mut self, items: &[Value], mut each: impl FnMut(&mut Self, &Value) -> Result<(), Fault>) -> Result<(), Fault> {
        self.bytes.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            each(self, item)?;
        }
        self.bytes.push(b']');
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(flag) => {
                self.bytes.extend_from_slice(flag.to_string().as_bytes());
                Ok(())
            }
            Value::Integer(number) => {
                self.bytes.extend_from_slice(number.to_string().as_bytes());
                Ok(())
            }
            Value::List(items) => self.list(items, Self::value),
            Value::Table(table) => self.object(|writer, comma| {
                table.iter().try_for_each(|(key, value)| writer.entry(key, comma, |writer| writer.value(value)))
            }),
            _ => Err(Fault::new("the project holds something that Docker Compose is not told")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SecretMark;

    #[test]
    fn a_project_is_told_as_it_is_wanted_and_nothing_is_left_to_replace() {
        let bind = Value::table([("type", "bind".into()), ("source", "/srv".into()), ("target", "/x".into())]);
        let environment = Value::table([("A", "$HOME".into()), ("KEY", Value::Secret { mark: SecretMark::Unknown })]);
        let web = Value::table([
            ("image", "x".into()),
            ("environment", environment),
            ("labels", Value::table([("a", "b".into())])),
            ("volumes", Value::List(vec![bind])),
            ("pids_limit", Value::Integer(5)),
        ]);
        let fields = Properties::from([("services".to_owned(), Value::table([("web", web)]))]);
        let values: &Values<'_> = &|service, name| ((service, name) == ("web", "KEY")).then_some(b"a$b\"c");
        let payload = declared("ads", "production/compose.ads", &fields, values).unwrap();
        let json: serde_json::Value = serde_json::from_slice(payload.expose()).unwrap();
        let web = &json["services"]["web"];
        assert_eq!((&json["name"], &web["image"], &web["pids_limit"]), (&"ads".into(), &"x".into(), &5.into()));
        assert_eq!((&web["environment"]["A"], &web["environment"]["KEY"]), (&"$$HOME".into(), &"a$$b\"c".into()));
        assert_eq!((&web["labels"]["a"], &web["labels"]["trunkline.owner"]), (&"b".into(), &"production/compose.ads".into()));
        assert_eq!(web["volumes"][0]["bind"]["create_host_path"], false);
        assert!(declared("ads", "x", &fields, &|_, _| None).is_err());
    }
}
