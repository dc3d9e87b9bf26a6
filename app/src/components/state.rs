//! States: word, shape and colour together.

use maud::{Markup, html};
use projections::ReleaseRow;

use crate::words::{self, Tone};

/// A state in a word with its shape.
pub fn state(tone: Tone, word: &str) -> Markup {
    html! { span class={ "state " (tone.class()) } { (word) } }
}

/// The state of a release.
pub fn state_of(row: &ReleaseRow) -> Markup {
    let (tone, word) = words::state(row);
    state(tone, word.as_ref())
}
