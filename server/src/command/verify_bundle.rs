//! `deliveryos verify-bundle …`: Sigstore's own protocol for clients under test, and everybody's daily use.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use attest::{
    Artifact, Evidence, Match, Policy, Proved, ProvedSigner, PublicKey, Refused, Signer, TrustRoot, Verifier, limits,
};
use serde_json::json;

use super::print;
use crate::{
    args::{Global, SignedBy, VerifyBundle},
    exit::{REFUSED, Refusal, UNKNOWN, WrongUse},
};

pub(super) fn run(global: &Global, options: &VerifyBundle) -> anyhow::Result<ExitCode> {
    let verdict = verify(options)?;
    let code = match &verdict {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => ExitCode::from(if why.is_a_no() { REFUSED } else { UNKNOWN }),
    };
    if global.json {
        print::json(&match &verdict {
            Ok(proved) => json!({ "verified": true, "artifact": options.artifact, "proved": proved }),
            Err(why) => {
                let verified = if why.is_a_no() { Some(false) } else { None };
                json!({ "verified": verified, "artifact": options.artifact, "reason": why.to_string() })
            }
        })?;
        return Ok(code);
    }
    match verdict {
        Ok(proved) => {
            print::line(&format!("VERIFIED: {}", options.artifact))?;
            show(&proved)?;
            Ok(code)
        }
        Err(why) if why.is_a_no() => Err(Refusal(why.to_string()).into()),
        Err(why) => Err(why.into()),
    }
}

fn verify(options: &VerifyBundle) -> anyhow::Result<Result<Proved, Refused>> {
    let bundle = read(&options.bundle, limits::MAX_BUNDLE)?;
    let trust = match &options.trusted_root {
        Some(path) => TrustRoot::from_json(&read(path, limits::MAX_TRUST_ROOT)?),
        None if options.staging => TrustRoot::staging(),
        None => TrustRoot::public(),
    };
    let signer = match signer(&options.by)? {
        Ok(signer) => signer,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut policy =
        Policy { old_forms: !options.only_v03, unlogged: options.insecure_ignore_tlog, ..Policy::by(signer) };
    if let Some(wanted) = &options.predicate_type {
        policy = policy.stating(wanted);
    }
    let verifier = match trust.and_then(Verifier::new) {
        Ok(verifier) => verifier,
        Err(refused) => return Ok(Err(refused)),
    };
    let now = jiff::Timestamp::now();
    // A file of that name comes first, as the protocol has it.
    let digest = if Path::new(&options.artifact).exists() { None } else { digest(&options.artifact) };
    Ok(match digest {
        Some(digest) => verifier.verify(&bundle, Artifact::Digest(digest), &policy, now),
        None => {
            let file = File::open(&options.artifact)
                .map_err(|error| WrongUse(format!("{} cannot be read: {error}", options.artifact)))?;
            verifier.verify(&bundle, Artifact::Reader(&mut BufReader::new(file)), &policy, now)
        }
    })
}

/// `sha256:` and 64 hexadecimal digits of either case.
pub(super) fn digest(text: &str) -> Option<model::Digest> {
    text.to_ascii_lowercase().parse().ok().filter(|_| text.starts_with("sha256:"))
}

/// Whose signature the command line asks for. A key that is none is a refusal: with it nothing verifies.
pub(super) fn signer(by: &SignedBy) -> anyhow::Result<Result<Signer, Refused>> {
    if let Some(path) = &by.key {
        let pem = read(path, limits::MAX_KEY)?;
        return Ok(PublicKey::from_pem(&String::from_utf8_lossy(&pem)).map(Signer::key));
    }
    let either = |exact: &Option<String>, pattern: &Option<String>| match (exact, pattern) {
        (Some(text), _) => Match::exact(text.as_str()),
        (None, Some(text)) => Match::pattern(text),
        (None, None) => Match::exact(""),
    };
    let wrong = |error: attest::PolicyError| WrongUse(error.to_string());
    let identity = either(&by.certificate_identity, &by.certificate_identity_regexp).map_err(wrong)?;
    let issuer = either(&by.certificate_oidc_issuer, &by.certificate_oidc_issuer_regexp).map_err(wrong)?;
    Ok(Ok(Signer::keyless(identity, issuer)))
}

/// What was proved, for people.
pub(super) fn show(proved: &Proved) -> anyhow::Result<()> {
    let row = |name: &str, value: &str| print::line(&format!("  {name:<10} {value}"));
    match &proved.evidence {
        Evidence::Signature => row("evidence", "signature over the file")?,
        Evidence::Statement(statement) => row("evidence", &format!("statement {}", statement.predicate_type))?,
    }
    match &proved.signer {
        ProvedSigner::Certificate { identity, issuer, claims, transparency } => {
            row("signed by", identity)?;
            row("vouched", issuer)?;
            for (name, value) in claims.iter().filter(|(name, _)| name.starts_with("sourceRepository")) {
                row("", &format!("{name} {value}"))?;
            }
            if !transparency {
                row("", "the certificate's own transparency was not asked for")?;
            }
        }
        ProvedSigner::Key { hint } => row("signed by", &format!("key {hint}"))?,
    }
    for entry in &proved.logged {
        let how = if entry.proof { "proved" } else { "promised by the log, not proved" };
        row("logged", &format!("{} at {} ({how})", entry.log, entry.index))?;
    }
    if proved.logged.is_empty() {
        row("logged", "NOT: no transparency log has seen it")?;
    }
    match proved.times.as_slice() {
        [] => row("time", "none is proved"),
        times => row("time", &times.join(", ")),
    }
}

/// A file of at most so many bytes; a longer one is read one byte further, so that whoever parses it refuses it.
pub(super) fn read(path: &Path, max: usize) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| WrongUse(format!("{} cannot be read: {error}", path.display())))?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(bytes)
}
