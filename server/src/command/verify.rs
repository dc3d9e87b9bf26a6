//! `deliveryos verify`: an image's evidence, held against a policy.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use attest::{Evidence as Stated, EvidencePolicy, Judgement, Judging, ProvedSigner, limits};
use registry::{
    At, Place, Tag,
    bundles::{self, Evidence},
};
use serde::Serialize;

use super::{place, print, verify_bundle::read};
use crate::{
    args::{self, Global},
    exit::{REFUSED, WrongUse},
};

/// Longest policy file read; the policy itself refuses less.
const MAX_POLICY: usize = 1024 * 1024;

/// What is printed with `--json`.
#[derive(Serialize)]
struct Said<'a> {
    place: String,
    #[serde(flatten)]
    judgement: &'a Judgement,
    /// Evidence that was not looked at, and why.
    not_looked_at: &'a [String],
}

pub(super) async fn run(global: &Global, options: &args::Verify) -> anyhow::Result<ExitCode> {
    let opened = place::open(&options.image, false, options.plain_http).await?;
    let (judgement, not_looked_at) = judged(&*opened, &place::at(&options.image).await?, &options.policy).await?;
    if global.json {
        print::json(&Said { place: opened.name(), judgement: &judgement, not_looked_at: &not_looked_at })?;
    } else {
        say(&opened.name(), &judgement, &not_looked_at)?;
    }
    Ok(if judgement.met { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// What the evidence beside an image proves under a policy, and what was not looked at.
pub(super) async fn judged(
    opened: &dyn Place,
    at: &At,
    policy_file: &Path,
) -> anyhow::Result<(Judgement, Vec<String>)> {
    let policy = policy(policy_file)?;
    let image = opened.manifest(at).await.map_err(place::refusal)?;
    let digest = image.descriptor.digest.clone();
    let (evidence, mut not_looked_at) = bundles::evidence(opened, &digest).await.map_err(place::refusal)?;
    let mut judging = Judging::new(&policy, digest.clone(), jiff::Timestamp::now())?;
    for one in evidence {
        let Evidence { manifest, kind, bundle, .. } = one;
        let Some(bundle) = bundle else {
            not_looked_at.push(format!("{manifest} is {kind}, not a Sigstore bundle"));
            continue;
        };
        match bundles::read(opened, &bundle).await {
            Ok(bytes) => judging.see(manifest, &bytes),
            // A known no is this bundle's; what could not be found out is everybody's.
            Err(error) if error.is_refusal() => judging.unreadable(manifest, error.to_string()),
            Err(error) => return Err(place::refusal(error)),
        }
    }
    not_looked_at.extend(older_forms(opened, &digest).await?);
    if !image.parse().map_err(place::refusal)?.children().is_empty() {
        not_looked_at.push("the image is an index: evidence of its children is not evidence of the index".to_owned());
    }
    Ok((judging.end(), not_looked_at))
}

fn policy(path: &Path) -> anyhow::Result<EvidencePolicy> {
    let text = read(path, MAX_POLICY)?;
    let text = String::from_utf8(text).map_err(|_| WrongUse(format!("{}: it is not UTF-8", path.display())))?;
    let beside = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut file = |name: &str| {
        let path: PathBuf = beside.join(name);
        read(&path, limits::MAX_TRUST_ROOT).map_err(|error| error.to_string())
    };
    let policy = EvidencePolicy::parse(&text, &mut file);
    Ok(policy.map_err(|error| WrongUse(format!("{}: {error}", path.display())))?)
}

/// cosign's tags of old, which are named and not verified.
async fn older_forms(place: &dyn Place, image: &model::Digest) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for suffix in ["sig", "att"] {
        let tag = Tag::of_sidecar(image, suffix);
        match place.manifest(&At::Tag(tag.clone())).await {
            Ok(_) => {
                found.push(format!("the tag {tag} is evidence in cosign's form before v0.3, which proves nothing here"))
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(place::refusal(error)),
        }
    }
    Ok(found)
}

/// The judgement for people.
pub(super) fn say(place: &str, judgement: &Judgement, not_looked_at: &[String]) -> anyhow::Result<()> {
    let verdict = if judgement.met { "VERIFIED" } else { "NOT VERIFIED" };
    print::line(&format!("{verdict}: {}\n  in {place}, under {}", judgement.image, judgement.policy))?;
    for wanted in &judgement.requirements {
        let mark = if wanted.met { "proved" } else { "MISSING" };
        print::line(&format!("{mark:<8} {}", wanted.name))?;
        for proof in wanted.by.iter().filter_map(|at| judgement.proved.get(*at)) {
            say_proof(proof)?;
        }
        if let Some(why) = &wanted.why {
            print::line(&format!("  by {}: {why}", wanted.signers.join(" or ")))?;
        }
    }
    let asked = |at: usize| judgement.requirements.iter().any(|wanted| wanted.by.contains(&at));
    for (at, proof) in judgement.proved.iter().enumerate().filter(|(at, _)| !asked(*at)) {
        let what = match &proof.proved.evidence {
            Stated::Statement(statement) => statement.predicate_type.as_str(),
            Stated::Signature => "a signature",
        };
        print::line(&format!("also     {what}"))?;
        if let Some(proof) = judgement.proved.get(at) {
            say_proof(proof)?;
        }
    }
    for not in &judgement.refused {
        let says = not.says.as_deref().unwrap_or("a bundle");
        print::line(&format!("refused  {says}\n  {}", not.evidence))?;
        for reason in &not.reasons {
            let by = if reason.signer.is_empty() { String::new() } else { format!("{}: ", reason.signer) };
            print::line(&format!("  {by}{}", reason.why))?;
        }
    }
    not_looked_at.iter().try_for_each(|note| print::line(&format!("not looked at: {note}")))
}

fn say_proof(proof: &attest::Proof) -> anyhow::Result<()> {
    let who = match &proof.proved.signer {
        ProvedSigner::Certificate { identity, issuer, .. } => format!("{identity} (vouched for by {issuer})"),
        ProvedSigner::Key { hint } => format!("key {hint}"),
    };
    print::line(&format!("  by {}: {who}\n  {}", proof.signer, proof.evidence))?;
    for entry in &proof.proved.logged {
        let how = if entry.proof { "proved" } else { "promised by the log, not proved" };
        print::line(&format!("  logged at {} {} ({how})", entry.log, entry.index))?;
    }
    if proof.proved.logged.is_empty() {
        print::line("  NOT logged: no transparency log has seen it, and the policy lets that pass")?;
    }
    match proof.proved.times.as_slice() {
        [] => print::line("  no time of signing is proved"),
        times => print::line(&format!("  signed at {}", times.join(", "))),
    }
}
