//! Nouns with typed ids: what the other crates speak of.
