//! What must hold of any recipe and any condition. The bodies are the fuzz targets' own (`fuzz/`).

#[path = "../fuzz/bodies.rs"]
mod bodies;

use proptest::prelude::*;

/// A recipe of ours, to begin from: most changes of it stay close to one.
const RECIPE: &str = include_str!("../../../examples/rollout-default.yaml");

/// Pieces that mean something to the reader.
const PIECES: [&str; 24] = [
    "{", "}", "[", "]", ": ", "- ", "\n", "  ", "#", "&a", "*a", "<<: *a", "|", ">", "'", "\"", "!!int", "---\n", "0",
    "-1", "1e99", "null", "\u{feff}", "\t",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        bodies::recipe(&bytes);
    }

    #[test]
    fn a_changed_recipe_is_read_or_refused(
        cuts in proptest::collection::vec((0..RECIPE.len(), 0..40_usize, proptest::sample::select(&PIECES[..])), 1..5)
    ) {
        let mut bytes = RECIPE.as_bytes().to_vec();
        for (at, length, piece) in cuts {
            let at = at.min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, piece.bytes());
        }
        bodies::recipe(&bytes);
    }

    #[test]
    fn any_condition_is_asked_or_refused(text in ".{0,60}") {
        bodies::condition(&text);
    }

    #[test]
    fn a_changed_condition_is_asked_or_refused(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "result", "[0]", ".a", " < ", " >= ", "0.01", "len(", ")", " and ", " || ", "not ", "all(", "{# > 1}", "default(", "isNaN(", ",", "nil",
        ]), 0..16)
    ) {
        bodies::condition(&pieces.concat());
    }
}
