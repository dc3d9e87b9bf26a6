//! What the runtime of one machine cannot do.

use crate::{Recipe, Refusal};

/// What of this recipe the local runtime (two processes behind the weighted splitter) cannot do, each by name.
pub fn unsupported_locally(recipe: &Recipe) -> Vec<Refusal> {
    todo!("{recipe:?}")
}
