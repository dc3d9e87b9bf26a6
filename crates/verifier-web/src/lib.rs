//! The receipt verifier as a second, lazily loaded browser module.
