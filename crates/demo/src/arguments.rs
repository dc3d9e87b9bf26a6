//! The command line of `demo-service`: five options, each with a value.

use std::{ffi::OsString, str::FromStr};

use model::Version;

use crate::service::Behaviour;

const PORT: &str = "--port";
const VERSION: &str = "--version";
const LATENCY: &str = "--latency-ms";
const SIGMA: &str = "--sigma";
const ERRORS: &str = "--error-rate";
const OPTIONS: [&str; 5] = [PORT, VERSION, LATENCY, SIGMA, ERRORS];

/// What `--help` prints.
pub const HELP: &str = "\
The small HTTP service that `deliveryos demo` delivers

Usage: demo-service [OPTIONS] --port <PORT>

Options:
      --port <PORT>              Port on 127.0.0.1
      --version <VERSION>        Version named in the answers [default: v1]
      --latency-ms <LATENCY_MS>  Median latency, ms [default: 20]
      --sigma <SIGMA>            Sigma of the logarithm of the latency; the 99th percentile is median · exp(2.33 σ) [default: 0.3]
      --error-rate <ERROR_RATE>  Share of answers that are 503, 0 to 1 [default: 0]
  -h, --help                     Print help
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// [`HELP`].
    Help,
    /// The service.
    Service {
        /// Its port on 127.0.0.1.
        port: u16,
        /// How it behaves.
        behaviour: Behaviour,
    },
}

/// A command line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongUse {
    /// No option has this name.
    #[error("there is no option {0:?}: see --help")]
    Unknown(String),
    /// Bytes that are no text.
    #[error("{0:?} is not text")]
    NotText(OsString),
    /// Nothing follows the option.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// The value is of another kind.
    #[error("{option} is {expected}, not {value:?}")]
    Value {
        /// The option.
        option: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        value: String,
    },
    /// An option is there again.
    #[error("{0} is there twice")]
    Twice(&'static str),
    /// It has no default.
    #[error("--port is missing: see --help")]
    NoPort,
}

/// Reads what follows the program's name.
pub fn read(arguments: impl IntoIterator<Item = OsString>, seed: u64) -> Result<Asked, WrongUse> {
    let mut port = None;
    let mut behaviour = Behaviour { version: "v1".to_owned(), median_ms: 20.0, sigma: 0.3, error_rate: 0.0, seed };
    let mut seen = Vec::new();
    let mut arguments = arguments.into_iter().map(|argument| argument.into_string().map_err(WrongUse::NotText));
    while let Some(argument) = arguments.next().transpose()? {
        if matches!(argument.as_str(), "--help" | "-h") {
            return Ok(Asked::Help);
        }
        // `--option value` or `--option=value`.
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let Some(option) = OPTIONS.into_iter().find(|option| *option == name) else {
            return Err(WrongUse::Unknown(name.to_owned()));
        };
        if seen.contains(&option) {
            return Err(WrongUse::Twice(option));
        }
        seen.push(option);
        let value = value.map_or_else(|| arguments.next().transpose(), |value| Ok(Some(value)))?;
        let value = value.ok_or(WrongUse::NoValue(option))?;
        let number = || parsed::<f64>(option, &value, "a number");
        match option {
            PORT => port = Some(parsed(option, &value, "a number from 0 to 65535")?),
            VERSION => {
                let label = parsed::<Version>(option, &value, "letters, digits, '-', '.', '_' and '+', at most 80")?;
                behaviour.version = label.to_string();
            }
            LATENCY => behaviour.median_ms = number()?,
            SIGMA => behaviour.sigma = number()?,
            _ => behaviour.error_rate = number()?,
        }
    }
    port.map(|port| Asked::Service { port, behaviour }).ok_or(WrongUse::NoPort)
}

fn parsed<T: FromStr>(option: &'static str, value: &str, expected: &'static str) -> Result<T, WrongUse> {
    value.parse().map_err(|_| WrongUse::Value { option, expected, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Asked, WrongUse> {
        read(line.split_whitespace().map(OsString::from), 7)
    }

    #[test]
    fn what_a_line_asks_for() {
        let service = |port, version: &str, median_ms, sigma, error_rate| {
            let version = version.to_owned();
            Ok(Asked::Service { port, behaviour: Behaviour { version, median_ms, sigma, error_rate, seed: 7 } })
        };
        assert_eq!(of("--port 80"), service(80, "v1", 20.0, 0.3, 0.0));
        let all = "--version v3-slow --latency-ms 270 --sigma 0.05 --error-rate 0.2 --port 8080";
        assert_eq!(of(all), service(8080, "v3-slow", 270.0, 0.05, 0.2));
        assert_eq!(of("--port=8080 --latency-ms=1.5"), service(8080, "v1", 1.5, 0.3, 0.0));
        assert_eq!(of("--port 80 --help"), Ok(Asked::Help));
        for option in OPTIONS {
            assert!(HELP.contains(option), "{option}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, words) in [
            ("", "--port is missing"),
            ("--version v1", "--port is missing"),
            ("--port", "--port needs a value"),
            ("--port 65536", "--port is a number from 0 to 65535, not \"65536\""),
            ("--port=", "not \"\""),
            ("--port 1 --sigma much", "--sigma is a number, not \"much\""),
            ("--port 1 --version a/b", "--version is letters"),
            ("--port 1 --port 1", "--port is there twice"),
            ("--port 1 --colour red", "there is no option \"--colour\""),
            ("80", "there is no option \"80\""),
        ] {
            let said = of(line).unwrap_err().to_string();
            assert!(said.contains(words), "{line}: {said}");
        }
        use std::os::unix::ffi::OsStringExt as _;
        assert!(matches!(read([OsString::from_vec(vec![0xff])], 0), Err(WrongUse::NotText(_))));
    }
}
