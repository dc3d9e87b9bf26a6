//! Exit codes: 0 yes, 1 a refusal, 2 wrong use, 3 could not find out.

use std::{fmt, process::ExitCode};

/// A known no: asked and refused, or checked and found wrong. Exit code 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(
    /// The reasons, in words.
    pub String,
);

/// The command line or a file it names cannot be used. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongUse(
    /// What is wrong and how to set it right.
    pub String,
);

/// Exit code of a refusal.
pub const REFUSED: u8 = 1;
/// Exit code of wrong use; clap uses the same.
pub const WRONG_USE: u8 = 2;
/// Exit code when it could not be found out.
pub const UNKNOWN: u8 = 3;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Refusal {}

impl fmt::Display for WrongUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for WrongUse {}

/// The exit code that belongs to an error: that of the first [`Refusal`] or [`WrongUse`] in its chain, else "could not find out".
pub fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<WrongUse>()) {
        WRONG_USE
    } else if error.chain().any(|cause| cause.is::<Refusal>()) {
        REFUSED
    } else {
        UNKNOWN
    }
}

/// Says on stderr what went wrong, causes included, and answers with the exit code.
#[allow(clippy::print_stderr)] // the one place where the program says why it ends
pub fn report(error: &anyhow::Error) -> ExitCode {
    let code = code(error);
    let word = if code == REFUSED { "refused" } else { "error" };
    eprintln!("{word}: {}", chain(error));
    ExitCode::from(code)
}

/// The error and its causes on one line, repetitions left out.
pub fn chain(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if said.is_empty() {
            said = text;
        } else if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
    }
    let full = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    };
    if error.chain().any(full) && !said.contains("make room") {
        said += ": make room on that disk and try again";
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_cause() {
        let check = |error: anyhow::Error, expected: u8| assert_eq!(code(&error), expected, "{error:#}");
        check(anyhow::anyhow!("disk"), UNKNOWN);
        check(Refusal("no".into()).into(), REFUSED);
        check(anyhow::Error::from(WrongUse("no".into())).context("reading"), WRONG_USE);
        assert_eq!(chain(&anyhow::Error::from(Refusal("b".into())).context("a")), "a: b");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(
            chain(&anyhow::Error::from(full).context("/data/a cannot be written")),
            "/data/a cannot be written: no storage space: make room on that disk and try again"
        );
    }
}
