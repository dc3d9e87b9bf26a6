//! What a page is made of, as the text in which it comes.
//!
//! Every page asks for one thing. It comes as JSON, in the page or over the network, and is read where its code is: so the framework's code
//! for what is asked for is in the browser's module once, and not once for each type.

use std::pin::Pin;

use leptos::prelude::*;
use serde::de::DeserializeOwned;

use super::{ApiError, encoding::Written};

/// JSON, or why there is none.
pub type PageText = Result<String, ApiError>;

/// What a page asked for.
pub type PageResource = Resource<PageText, Written>;

type Answer = Pin<Box<dyn Future<Output = PageText> + Send>>;

/// Asks what `ask` says, and again when that changes. The document waits for it.
pub fn asked_for<Fut: Future<Output = PageText> + Send + 'static>(
    ask: impl Fn() -> String + Send + Sync + 'static,
    fetch: impl Fn(String) -> Fut + Send + Sync + 'static,
) -> PageResource {
    fn of(
        ask: Box<dyn Fn() -> String + Send + Sync>,
        fetch: Box<dyn Fn(String) -> Answer + Send + Sync>,
    ) -> PageResource {
        Resource::new_with_options(ask, fetch, true)
    }
    of(Box::new(ask), Box::new(move |asked| Box::pin(fetch(asked))))
}

/// Reads what a page is made of.
///
/// # Errors
/// When it is something else.
pub fn read<T: DeserializeOwned + Send + 'static>(text: &str) -> Result<T, ApiError> {
    #[cfg(feature = "ssr")]
    if let Some(page) = kept() {
        return Ok(page);
    }
    serde_json::from_str(text).map_err(|e| ApiError::Unavailable(format!("the answer cannot be read: {e}")))
}

/// What was written, or worked out, for a page that is being rendered here: it need not be read from its text again.
#[cfg(feature = "ssr")]
#[derive(Clone, Default)]
pub struct Kept(std::sync::Arc<std::sync::Mutex<Vec<Box<dyn std::any::Any + Send>>>>);

#[cfg(feature = "ssr")]
impl Kept {
    fn keep(&self, page: Box<dyn std::any::Any + Send>) {
        if let Ok(mut kept) = self.0.lock() {
            kept.push(page);
        }
    }

    /// The first of this type, once.
    fn take<T: 'static>(&self) -> Option<T> {
        let mut kept = self.0.lock().ok()?;
        let at = kept.iter().position(|page| page.is::<T>())?;
        kept.remove(at).downcast().ok().map(|page| *page)
    }
}

/// Keeps what was worked out on the way to a page that is being rendered here.
#[cfg(feature = "ssr")]
pub(super) fn keep<T: Send + 'static>(worked_out: T) {
    if let Some(kept) = use_context::<Kept>() {
        kept.keep(Box::new(worked_out));
    }
}

/// What was kept, once.
#[cfg(feature = "ssr")]
pub(crate) fn kept<T: 'static>() -> Option<T> {
    use_context::<Kept>()?.take()
}

/// Writes what a page is made of.
#[cfg(feature = "ssr")]
pub(super) fn written<T: serde::Serialize + Send + 'static>(page: T) -> PageText {
    let text = serde_json::to_string(&page)
        .map_err(|e| ApiError::Unavailable(format!("the answer cannot be written: {e}")))?;
    keep(page);
    Ok(text)
}

#[cfg(test)]
#[cfg(feature = "ssr")]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_here_is_not_read_again_and_only_once() {
        Owner::new().with(|| {
            provide_context(Kept::default());
            assert_eq!(written(7_u64).unwrap(), "7");
            assert_eq!(written("x".to_owned()).unwrap(), "\"x\"");
            assert_eq!(read::<u64>("not read").unwrap(), 7);
            assert_eq!(read::<u64>("8").unwrap(), 8);
            assert_eq!(read::<String>("not read").unwrap(), "x");
            assert!(read::<String>("9").unwrap_err().to_string().contains("cannot be read"));
        });
    }
}
