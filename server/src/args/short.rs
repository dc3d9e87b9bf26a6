//! The short way to a subcommand that is done sooner than the command line of all of them is built.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{Args, Global, Verb, VerifyBundle};

/// [`Args`] with these subcommands alone.
#[derive(Parser)]
#[command(name = "deliveryos")]
struct Short {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: ShortVerb,
}

#[derive(Subcommand)]
enum ShortVerb {
    VerifyBundle(VerifyBundle),
}

/// What a command line says whose first word is `verify-bundle`. None for every other one and for one that is wrong or asks for help:
/// the whole [`Args`] says what about that.
pub(super) fn parse(line: &[OsString]) -> Option<Args> {
    if line.get(1)? != "verify-bundle" {
        return None;
    }
    let Short { global, verb: ShortVerb::VerifyBundle(options) } = Short::try_parse_from(line).ok()?;
    Some(Args { global, verb: Verb::VerifyBundle(options) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_short_way_and_the_whole_one_read_the_same() {
        let lines = [
            "deliveryos verify-bundle --staging --bundle b.json --key k.pub --trusted-root t.json sha256:00",
            "deliveryos verify-bundle --json --data-dir d --bundle=b --key k --server http://a --token t --type u --only-v03 a.txt",
            "deliveryos verify-bundle --bundle b --certificate-identity i --certificate-oidc-issuer u -- --a.txt",
            "deliveryos verify-bundle --bundle b --certificate-identity-regexp i --certificate-oidc-issuer-regexp u --insecure-ignore-tlog a",
        ];
        for line in lines {
            let line = words(line);
            let whole = Args::try_parse_from(&line).unwrap();
            assert_eq!(format!("{:?}", parse(&line).unwrap()), format!("{whole:?}"), "{line:?}");
        }
    }

    #[test]
    fn what_it_does_not_take_is_left_to_the_whole_one() {
        let lines = [
            "deliveryos",
            "deliveryos log verify",
            "deliveryos --json verify-bundle --bundle b --key k a.txt",
            "deliveryos verify-bundle",
            "deliveryos verify-bundle --help",
            "deliveryos verify-bundle --bundle b a.txt",
            "deliveryos verify-bundle --bundle b --key k --certificate-oidc-issuer u a.txt",
            "deliveryos verify-bundle --bundle b --key k --wrong a.txt",
        ];
        for line in lines {
            let line = words(line);
            assert!(parse(&line).is_none(), "{line:?}");
        }
    }
}
