//! What keys mean depends on where the reader is.

use leptos::prelude::document;

/// True while somebody types: then letters are letters.
pub fn typing() -> bool {
    document().active_element().is_some_and(|e| {
        let is_range = e.get_attribute("type").as_deref() == Some("range");
        matches!(e.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT") && !is_range
    })
}
