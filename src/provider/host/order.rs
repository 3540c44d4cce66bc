//! An approved order as the executor takes it.

use std::collections::BTreeMap;

use super::{Draft, render};
use crate::agent::{FileOrder, FileTask, FileWrite, Payload};
use crate::model::{FileSpec, InstanceKey, ResourceName, Retry, Secret, SecretMark, SecretResolver, Spec};
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
            let receipt = Receipt { properties: spec.properties(&marks), ..Receipt::default() };
            (file.path.clone(), FileTask::Write(Box::new(write(order, file, marks, secrets)?)), receipt)
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
    let FileSpec { path, content, secrets: _, mode, owner, group, validate } = file;
    let bytes = order.contents.get(&content.sha256).ok_or_else(|| {
        ProviderError::new(format!("the content of `{path}` is not in the bundle ({})", content.sha256.short()), Retry::Stalled)
    })?;
    let bytes =
        if file.secrets.is_empty() { Secret::new(bytes.to_vec()) } else { render::fill(path, bytes, &file.secrets, secrets)? };
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
