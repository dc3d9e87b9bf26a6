//! The golden values, natively.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../golden/rows.rs"]
mod rows;

#[test]
fn golden_values_to_nine_digits() {
    let rows = rows::rows();
    assert!(rows.wrong.is_empty(), "of {} values: {:?}", rows.compared, rows.wrong);
    assert_eq!(rows.compared, rows::COMPARED);
}
