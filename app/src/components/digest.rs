//! A digest in short form, whole on hover, copied by a press.

use leptos::prelude::*;
use model::Digest;

/// `sha256:4f2c…be19` with a button that copies all of it. Without JavaScript the whole digest is in the title.
#[component]
pub fn DigestText(
    /// The digest.
    digest: Digest,
) -> impl IntoView {
    let whole = StoredValue::new(digest.to_string());
    let (copied, set_copied) = signal(false);
    let copy = move |_| {
        #[cfg(feature = "hydrate")]
        {
            use wasm_bindgen_futures::{JsFuture, spawn_local};
            spawn_local(async move {
                let clipboard = window().navigator().clipboard();
                let text = whole.try_get_value().unwrap_or_default();
                if JsFuture::from(clipboard.write_text(&text)).await.is_ok() {
                    set_copied.set(true);
                    set_timeout(
                        move || {
                            let _ = set_copied.try_set(false);
                        },
                        std::time::Duration::from_secs(2),
                    );
                }
            });
        }
        #[cfg(not(feature = "hydrate"))]
        let _ = set_copied;
    };
    view! {
        <span class="digest">
            <code title=whole.get_value()>{digest.short()}</code>
            <button type="button" class="copy" on:click=copy aria-label="Copy the digest">
                <svg viewBox="0 0 12 12" aria-hidden="true"><path d="M4 4V1.5h6.5V8H8M1.5 4H8v6.5H1.5z"/></svg>
                <span role="status">{move || copied.get().then_some("copied")}</span>
            </button>
        </span>
    }
}
