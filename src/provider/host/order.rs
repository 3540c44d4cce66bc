//! An approved order as the executor takes it.

use std::collections::BTreeMap;

use super::{Draft, render};
use crate::agent::{FileOrder, FileTask, FileWrite, Payload};
use crate::model::{
    FileSpec, InstanceKey, Properties, ResourceName, Retry, Secret, SecretMark, SecretResolver, Spec, Value, token_label,
};
use crate::plan::Action;
use crate::provider::{Order, ProviderError, Receipt};

/// The order with its bytes, and what the receipt will say.
///
/// # Errors
/// Where a secret cannot be opened, or the order is not for a file: certainly nothing was done.
pub(super) fn prepare(order: &Order, secrets: &dyn SecretResolver) -> Result<(FileOrder, Draft), ProviderError> {
    let change = &order.change;
    let stalled = |message: String| ProviderError::new(message, Retry::Stalled);
    let (path, task, receipt) = match (&order.spec, change.action) {
        (_, Action::Delete) => (change.claim.clone(), FileTask::Delete, Receipt::default()),
        (Some(spec @ Spec::File(file)), _) => {
            let marks = marks(file, secrets);
            let mut properties = spec.properties(&marks);
            let written = write(order, file, marks, secrets)?;
            stand_for(&mut properties, &written.secrets);
            (file.path.clone(), FileTask::Write(Box::new(written)), Receipt { properties, ..Receipt::default() })
        }
        (Some(spec), _) => return Err(stalled(format!("a {} cannot live on a host", spec.kind()))),
        (None, _) => return Err(stalled(format!("the order for `{}` does not say what is desired", change.key))),
    };
    let from = change.from.clone().map(|address| InstanceKey { address, target: change.key.target.clone() });
    let order = FileOrder {
        key: change.key.clone(),
        from,
        path,
        precondition: change.precondition.clone(),
        marker: order.marker.clone(),
        task,
    };
    Ok((order, Draft(receipt)))
}

fn write(
    order: &Order,
    file: &FileSpec,
    marks: BTreeMap<ResourceName, SecretMark>,
    secrets: &dyn SecretResolver,
) -> Result<FileWrite, ProviderError> {
    let FileSpec { path, content, secrets: _, tokens: _, mode, owner, group, validate } = file;
    let bytes = order.contents.get(&content.sha256).ok_or_else(|| {
        ProviderError::new(format!("the content of `{path}` is not in the bundle ({})", content.sha256.short()), Retry::Stalled)
    })?;
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

fn marks(file: &FileSpec, secrets: &dyn SecretResolver) -> BTreeMap<ResourceName, SecretMark> {
    let mark = |name: &ResourceName| secrets.mark(name).map_or(SecretMark::Unknown, SecretMark::Hmac);
    file.secrets.iter().map(|name| (name.clone(), mark(name))).collect()
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
        let token = order.tokens.get(tunnel).ok_or_else(|| {
            let message = format!("`{}` needs the token of `tunnel.{tunnel}`, which was not read", file.path);
            ProviderError::new(message, Retry::Transient)
        })?;
        values.insert(token_label(tunnel), token.value.clone());
    }
    Ok(values)
}

/// What stands for each value, as it was written.
fn stand_for(properties: &mut Properties, marks: &BTreeMap<String, SecretMark>) {
    if let Some(Value::Table(secrets)) = properties.get_mut("secrets") {
        secrets.extend(marks.iter().map(|(name, mark)| (name.clone(), Value::Secret { mark: mark.clone() })));
    }
}
