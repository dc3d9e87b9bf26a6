//! The golden values in the browser's target, which has no test harness: ends with 0 when all of them agree, else with the number of the
//! first that does not. `cargo xtask test` runs it in Node.
#![allow(clippy::unwrap_used, reason = "a panic ends it as a wrong value does")]

mod rows;

use std::process::ExitCode;

fn main() -> ExitCode {
    let rows = rows::rows();
    if rows.compared != rows::COMPARED {
        return ExitCode::from(u8::MAX);
    }
    rows.wrong.first().map_or(ExitCode::SUCCESS, |(number, _)| ExitCode::from(u8::try_from(*number).unwrap_or(u8::MAX)))
}
