//! What verdicts were computed from.

use leptos::{prelude::*, server_fn::codec::Post};

use super::{ApiError, encoding::TextJson};

/// A piece of a verdict's table of ticks, by its digest.
#[server(prefix = "/api", endpoint = "get_verdict_ticks", output = Post<TextJson>)]
pub async fn get_verdict_ticks(digest: String) -> Result<String, ApiError> {
    use super::context::{answered, reader};
    answered(
        async {
            let invalid = || ApiError::Invalid(format!("{digest:?} is not a digest"));
            let parsed = digest.parse().map_err(|_| invalid())?;
            let found = reader()?.segment(&parsed).await.map_err(super::reads::could_not)?;
            let bytes = found.ok_or_else(|| ApiError::NotFound(format!("segment {digest}")))?;
            String::from_utf8(bytes).map_err(|_| ApiError::Invalid(format!("{digest} holds no ticks")))
        }
        .await,
    )
}
