//! An approved order as the executor takes it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, render};
use crate::agent::{FileOrder, FileTask, FileWrite, Ordered, Payload, ThingOrder, Wanted};
use crate::model::{
    Content, FileSpec, HostedSpec, InstanceKey, Kind, Properties, RESTART_ON, ResourceName, Retry, Secret, SecretMark,
    SecretResolver, Spec, TOKEN, token_label,
};
use crate::plan::{Action, resolve_pending};
use crate::provider::{Order, ProviderError, Receipt, Token};

/// The positions of those of `orders` that the one at `at` comes after: all changes of those instances that stand before it.
pub(super) fn before(orders: &[Order], at: usize) -> Vec<usize> {
    let waits_for = &orders[at].change.after_changes;
    (0..at).filter(|position| waits_for.contains(&orders[*position].change.key)).collect()
}

/// The order with its bytes, and what the receipt will say.
///
/// # Errors
/// Where a secret cannot be opened, or the order is not for a host: certainly nothing was done.
pub(super) fn prepare(order: &Order, secrets: &dyn SecretResolver) -> Result<(Ordered, Draft), ProviderError> {
    let change = &order.change;
    let stalled = |message: String| ProviderError::new(message, Retry::Stalled);
    let from = change.from.clone().map(|address| InstanceKey { address, target: change.key.target.clone() });
    let (key, precondition, marker) = (change.key.clone(), change.precondition.clone(), order.marker.clone());
    match (&order.spec, change.action) {
        (_, Action::Delete) if change.key.address.kind == Kind::File => {
            let (path, task) = (change.claim.clone(), FileTask::Delete);
            Ok((Ordered::File(FileOrder { key, from, path, precondition, marker, task }), Draft(Receipt::default())))
        }
        (_, Action::Delete) => {
            let claim = change.claim.clone();
            let order = ThingOrder { key, from, claim, precondition, marker, wanted: None };
            Ok((Ordered::Thing(order), Draft(Receipt::default())))
        }
        (Some(spec @ Spec::File(file)), _) => {
            let marks = marks(&file.secrets, secrets);
            let properties = known(order, &spec.properties(&marks))?;
            let receipt = Receipt { properties, ..Receipt::default() };
            let (path, task) = (file.path.clone(), FileTask::Write(Box::new(write(order, file, marks, secrets)?)));
            Ok((Ordered::File(FileOrder { key, from, path, precondition, marker, task }), Draft(receipt)))
        }
        (Some(spec @ Spec::Hosted(hosted)), _) => {
            let properties = known(order, &spec.properties(&marks(&spec.secrets(), secrets)))?;
            let wanted = wanted(order, hosted, properties.clone(), secrets)?;
            let claim = hosted.claim.clone();
            let order = ThingOrder { key, from, claim, precondition, marker, wanted: Some(Box::new(wanted)) };
            Ok((Ordered::Thing(order), Draft(Receipt { properties, ..Receipt::default() })))
        }
        (Some(spec), _) => Err(stalled(format!("a {} cannot live on a host", spec.kind()))),
        (None, _) => Err(stalled(format!("the order for `{}` does not say what is desired", change.key))),
    }
}

/// What a thing is to be like, with the bytes and the values that it needs.
fn wanted(order: &Order, hosted: &HostedSpec, fields: Properties, secrets: &dyn SecretResolver) -> Result<Wanted, ProviderError> {
    let mut contents = BTreeMap::new();
    for content in (Spec::Hosted(hosted.clone())).contents() {
        let bytes = order.contents.get(&content.sha256).ok_or_else(|| missing(&hosted.claim, content))?;
        contents.insert(content.sha256, Payload::new(Secret::new(bytes.to_vec())));
    }
    let mut values = BTreeMap::new();
    // What only starts a thing anew is not sent along.
    for (path, name) in hosted.secrets.iter().filter(|(path, _)| !path.starts_with(RESTART_ON)) {
        let value = secrets.resolve(name).map_err(|error| {
            ProviderError::new(format!("`{}` cannot be given its secrets", hosted.claim), Retry::Stalled)
                .hint("check the identity that the daemon was given, and seal the value anew with `trunkline secrets set`")
                .source(error)
        })?;
        values.insert(path.clone(), Payload::new(value));
    }
    for (path, tunnel) in hosted.tokens.iter().filter(|(path, _)| !path.starts_with(RESTART_ON)) {
        let token = token(order, &hosted.claim, &tunnel.address.name)?;
        values.insert(path.clone(), Payload::new(token.value.clone()));
    }
    Ok(Wanted { fields, contents, values })
}

fn missing(name: &str, content: Content) -> ProviderError {
    ProviderError::new(format!("the content of `{name}` is not in the bundle ({})", content.sha256.short()), Retry::Stalled)
}

fn write(
    order: &Order,
    file: &FileSpec,
    marks: BTreeMap<ResourceName, SecretMark>,
    secrets: &dyn SecretResolver,
) -> Result<FileWrite, ProviderError> {
    let FileSpec { path, content, secrets: _, tokens: _, mode, owner, group, validate } = file;
    let bytes = order.contents.get(&content.sha256).ok_or_else(|| missing(path, *content))?;
    let values = values(order, file, secrets)?;
    let bytes = if values.is_empty() { Secret::new(bytes.to_vec()) } else { render::fill(path, bytes, &values)? };
    let of_tokens = order.tokens.iter().map(|(tunnel, token)| (token_label(tunnel), token.mark.clone()));
    let marks = marks.into_iter().map(|(name, mark)| (name.to_string(), mark)).chain(of_tokens).collect();
    Ok(FileWrite {
        bytes: Payload::new(bytes),
        content: *content,
        secrets: marks,
        mode: *mode,
        owner: owner.clone(),
        group: group.clone(),
        validate: validate.clone(),
    })
}

fn marks(names: &BTreeSet<ResourceName>, secrets: &dyn SecretResolver) -> BTreeMap<ResourceName, SecretMark> {
    let mark = |name: &ResourceName| secrets.mark(name).map_or(SecretMark::Unknown, SecretMark::Hmac);
    names.iter().map(|name| (name.clone(), mark(name))).collect()
}

/// The values that take the place of placeholders, by what they are called.
fn values(order: &Order, file: &FileSpec, secrets: &dyn SecretResolver) -> Result<BTreeMap<String, Secret>, ProviderError> {
    let mut values = BTreeMap::new();
    for name in &file.secrets {
        let value = secrets.resolve(name).map_err(|error| {
            ProviderError::new(format!("`{}` cannot be filled in", file.path), Retry::Stalled)
                .hint("check the identity that the daemon was given, and seal the value anew with `trunkline secrets set`")
                .source(error)
        })?;
        values.insert(name.to_string(), value);
    }
    for tunnel in file.tokens.keys() {
        let token = token(order, &file.path, tunnel)?;
        values.insert(token_label(tunnel), token.value.clone());
    }
    Ok(values)
}

/// The token of a tunnel that `user` needs.
fn token<'a>(order: &'a Order, user: &str, tunnel: &ResourceName) -> Result<&'a Token, ProviderError> {
    order.tokens.get(tunnel).ok_or_else(|| {
        ProviderError::new(format!("`{user}` needs the token of `tunnel.{tunnel}`, which was not read"), Retry::Transient)
    })
}

/// The properties with what stands for each token that was read.
fn known(order: &Order, properties: &Properties) -> Result<Properties, ProviderError> {
    let attributes = |tunnel: &InstanceKey| {
        let token = order.tokens.get(&tunnel.address.name)?;
        Some([(TOKEN.to_owned(), token.mark.as_attribute())].into())
    };
    let key = &order.change.key;
    resolve_pending(properties, &attributes, &key.target).map_err(|pending| {
        let message = format!("{key} needs the {} of {}, which was not read", pending.attribute, pending.address);
        ProviderError::new(message, Retry::Transient)
    })
}
