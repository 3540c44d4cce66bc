//! The values of the secrets of a thing, for the one call that takes them.

use crate::model::{Retry, Secret, Spec};
use crate::provider::cloudflare::CloudflareProvider;
use crate::provider::{Order, ProviderError};

/// The secret that stands at `path` among the fields of `order`: its text, and its value, which no answer may repeat.
///
/// # Errors
/// Where it cannot be had, or is no text: nothing was sent.
pub(super) fn secret(provider: &CloudflareProvider, order: &Order, path: &str) -> Result<(String, Secret), ProviderError> {
    let key = &order.change.key;
    let name = match &order.spec {
        Some(Spec::Platform(platform)) => platform.secrets.get(path),
        _ => None,
    };
    let name = name.ok_or_else(|| ProviderError::new(format!("`{key}` has no secret `{path}`"), Retry::Stalled))?;
    let value = provider.secrets.resolve(name).map_err(|error| {
        ProviderError::new(format!("the value of `{path}` of `{key}` cannot be had"), Retry::Stalled).source(error)
    })?;
    let text = value.expose_text().map(str::to_owned);
    let text = text.ok_or_else(|| ProviderError::new(format!("`secret.{name}` is not text"), Retry::Stalled))?;
    Ok((text, value))
}
