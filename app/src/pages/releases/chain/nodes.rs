//! What is known of a release's image, from its source to its environments: decided on receipts, without a component.

use std::collections::BTreeMap;

use model::{
    Digest, Environment, Kind,
    event::CommandSeen,
    evidence::{Attested, BuildCompleted, PromotionDecided, Requirement},
    gate::GatesDecided,
};
use projections::{Receipt, ReleaseView, describe, say};

use crate::words::Tone;

/// A station between source and environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) name: String,
    /// How it stands, and the word for it.
    pub(crate) tone: Tone,
    /// The word.
    pub(crate) word: &'static str,
    /// What is known, in a few words each.
    pub(crate) details: Vec<String>,
    /// The receipt that says so.
    pub(crate) receipt: Option<u64>,
    /// The document behind it.
    pub(crate) document: Option<Digest>,
}

/// All that is shown of a release's image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    /// The stations, in order.
    pub(crate) nodes: Vec<Node>,
    /// What was stated and found out about the image itself.
    pub(crate) about: Vec<Node>,
    /// What the service's policy asked for when the release started.
    pub(crate) policy: Vec<Requirement>,
    /// What was refused: receipt, sentence, and each reason.
    pub(crate) refused: Vec<(u64, String, Vec<String>)>,
    /// The last decision of the gates, and how many there are.
    pub(crate) gates: Option<(u64, u64, GatesDecided)>,
}

/// What is attested of an image itself.
pub(super) const ATTESTED: [(Kind, &str); 3] = [
    (Kind::AttestationSignature, "Signature"),
    (Kind::AttestationSbom, "Bill of materials"),
    (Kind::AttestationVuln, "Scan"),
];

/// Refusals shown; the list of receipts has all.
const MAX_REFUSED: usize = 5;

impl Chain {
    /// From the release and the receipts about its image, in any order. `order` are the configured environments.
    pub(crate) fn of(view: &ReleaseView, about: &[Receipt], order: &[Environment]) -> Self {
        let mut all: Vec<&Receipt> = about.iter().chain(&view.receipts).collect();
        all.sort_by_key(|r| r.index);
        all.dedup_by_key(|r| r.index);
        let last = |kinds: &[Kind]| all.iter().rev().find(|r| kinds.contains(&r.payload.kind)).copied();
        let build =
            last(&[Kind::BuildCompleted]).and_then(|r| Some((r.index, r.payload.facts::<BuildCompleted>().ok()?)));
        let provenance =
            last(&[Kind::AttestationSlsa]).and_then(|r| Some((r.index, r.payload.facts::<Attested>().ok()?)));
        let decided = all.iter().filter(|r| matches!(r.payload.kind, Kind::GatesPassed | Kind::GatesFailed));
        let decided: Vec<(u64, GatesDecided)> =
            decided.filter_map(|r| Some((r.index, r.payload.facts().ok()?))).collect();
        let gates = decided.last().map(|(index, facts)| (*index, decided.len() as u64, facts.clone()));
        let started = view.receipts.iter().find_map(|r| r.payload.facts.get("requirements"));
        let policy = started.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default();

        let mut nodes = vec![source(provenance.as_ref(), build.as_ref()), built(provenance.as_ref(), build.as_ref())];
        nodes.push(Node {
            name: "Image".to_owned(),
            tone: Tone::Run,
            word: "by digest",
            details: vec![view.row.digest.short(), view.row.version.to_string()],
            receipt: view.receipts.first().map(|r| r.index),
            document: None,
        });
        nodes.extend(environments(&all, order));
        let mut about: Vec<Node> = ATTESTED.iter().map(|(kind, name)| attested(name, last(&[*kind]))).collect();
        about.push(gated(gates.as_ref()));
        about.extend(admitted(&all));
        Self { nodes, about, policy, refused: refused(&all), gates }
    }

    /// True when the log says nothing of the image but that it is released.
    pub(crate) fn is_empty(&self) -> bool {
        let nothing = |node: &Node| node.receipt.is_none() || node.name == "Image";
        self.nodes.iter().chain(&self.about).all(nothing) && self.policy.is_empty() && self.refused.is_empty()
    }
}

fn unknown(name: &str, why: &str) -> Node {
    Node {
        name: name.to_owned(),
        tone: Tone::Unknown,
        word: "not known",
        details: vec![why.to_owned()],
        receipt: None,
        document: None,
    }
}

type Provenance<'a> = Option<&'a (u64, Attested)>;
type Built<'a> = Option<&'a (u64, BuildCompleted)>;

fn source(provenance: Provenance<'_>, build: Built<'_>) -> Node {
    match (provenance, build) {
        (Some((index, f)), _) if f.source.is_some() => Node {
            name: "Source".to_owned(),
            tone: Tone::Good,
            word: "attested",
            details: f
                .source
                .iter()
                .cloned()
                .chain(f.commit.as_ref().map(|c| format!("commit {}", say::short(c))))
                .collect(),
            receipt: Some(*index),
            document: Some(f.bundle.clone()),
        },
        (_, Some((index, f))) => Node {
            name: "Source".to_owned(),
            tone: Tone::Unknown,
            word: "not attested",
            details: vec![f.source.clone(), "as the build wrote down".to_owned()],
            receipt: Some(*index),
            document: None,
        },
        (Some(_), None) => unknown("Source", "its provenance names none"),
        (None, None) => unknown("Source", "no provenance was verified"),
    }
}

fn built(provenance: Provenance<'_>, build: Built<'_>) -> Node {
    match (provenance, build) {
        (Some((index, f)), _) => Node {
            name: "Build".to_owned(),
            tone: Tone::Good,
            word: "attested",
            details: f.builder.iter().chain(&f.invocation).cloned().chain([signed_by(f)]).collect(),
            receipt: Some(*index),
            document: Some(f.bundle.clone()),
        },
        (None, Some((index, f))) => Node {
            name: "Build".to_owned(),
            tone: Tone::Unknown,
            word: "not attested",
            details: vec![format!("program {}", f.program.short())],
            receipt: Some(*index),
            document: None,
        },
        (None, None) => unknown("Build", "no provenance was verified"),
    }
}

/// `key 4f2c…be19`, or an identity.
fn signed_by(f: &Attested) -> String {
    match f.signer.strip_prefix("key ") {
        Some(hint) => format!("key {}", say::short(hint)),
        None => f.signer.clone(),
    }
}

fn attested(name: &str, receipt: Option<&Receipt>) -> Node {
    let facts = receipt.and_then(|r| Some((r.index, r.payload.facts::<Attested>().ok()?)));
    match facts {
        Some((index, f)) => Node {
            name: name.to_owned(),
            tone: Tone::Good,
            word: "verified",
            details: vec![
                signed_by(&f),
                if f.logged.is_empty() { "not in a transparency log".to_owned() } else { f.logged.join(", ") },
            ],
            receipt: Some(index),
            document: Some(f.bundle),
        },
        None => Node { word: "none", ..unknown(name, "none was verified") },
    }
}

fn gated(gates: Option<&(u64, u64, GatesDecided)>) -> Node {
    match gates {
        Some((index, _, f)) => {
            let mut details = vec![say::plural(f.findings, "finding", "findings"), format!("policy “{}”", f.policy)];
            if !f.not_run.is_empty() {
                details.insert(0, format!("{} not run", say::plural(f.not_run.len() as u64, "scanner", "scanners")));
            }
            Node {
                name: "Gates".to_owned(),
                tone: super::gates::outcome(f).0,
                word: if f.decision == "passed" { "passed" } else { "failed" },
                details,
                receipt: Some(*index),
                document: Some(f.segment.clone()),
            }
        }
        None => Node { word: "not asked", ..unknown("Gates", "no report was handed in") },
    }
}

fn admitted(all: &[&Receipt]) -> Option<Node> {
    let of = |kind| all.iter().filter(|r| r.payload.kind == kind).count() as u64;
    let (allowed, denied) = (of(Kind::AdmissionAllowed), of(Kind::AdmissionDenied));
    let is = |r: &&&Receipt| matches!(r.payload.kind, Kind::AdmissionAllowed | Kind::AdmissionDenied);
    let last = all.iter().rev().find(is)?;
    let allowed_last = last.payload.kind == Kind::AdmissionAllowed;
    Some(Node {
        name: "Cluster".to_owned(),
        tone: if allowed_last { Tone::Good } else { Tone::Bad },
        word: if allowed_last { "admitted" } else { "denied" },
        details: vec![format!("{} admitted, {} denied", say::count(allowed), say::count(denied))],
        receipt: Some(last.index),
        document: None,
    })
}

fn environments(all: &[&Receipt], order: &[Environment]) -> Vec<Node> {
    let mut known: BTreeMap<String, Node> = BTreeMap::new();
    let mut seen: Vec<String> = order.iter().map(Environment::to_string).collect();
    for receipt in all {
        let asked = receipt.payload.kind == Kind::CommandAccepted
            && receipt.payload.facts::<CommandSeen>().is_ok_and(|f| f.command == "promote-image");
        let (tone, word) = match receipt.payload.kind {
            Kind::PromotionCopied => (Tone::Good, "image copied"),
            Kind::PromotionRefused => (Tone::Bad, "refused"),
            _ if asked => (Tone::Wait, "waits"),
            _ => continue,
        };
        let Ok(f) = receipt.payload.facts::<PromotionDecided>() else { continue };
        let name = f.environment.to_string();
        // What is there stays there, whatever is refused later.
        if tone != Tone::Good && known.get(&name).is_some_and(|node| node.tone == Tone::Good) {
            continue;
        }
        let details = match tone {
            Tone::Good => {
                vec![format!("{} with {}", f.tag, say::plural(f.evidence, "piece of evidence", "pieces of evidence"))]
            }
            Tone::Wait => vec!["for a second person".to_owned()],
            _ => f.refusals.iter().take(1).cloned().collect(),
        };
        if !seen.contains(&name) {
            seen.push(name.clone());
        }
        known.insert(name.clone(), Node { name, tone, word, details, receipt: Some(receipt.index), document: None });
    }
    let not_yet = |name: &String| Node { word: "not yet", tone: Tone::Unknown, ..unknown(name, "not promoted there") };
    seen.iter().map(|name| known.remove(name).unwrap_or_else(|| not_yet(name))).collect()
}

fn refused(all: &[&Receipt]) -> Vec<(u64, String, Vec<String>)> {
    let mut out = Vec::new();
    for receipt in all.iter().rev() {
        let reasons: Vec<String> = match receipt.payload.kind {
            Kind::PromotionRefused => {
                receipt.payload.facts::<PromotionDecided>().map(|f| f.refusals).unwrap_or_default()
            }
            Kind::CommandRefused => match receipt.payload.facts.get("requirements") {
                Some(asked) => {
                    let asked: Vec<Requirement> = serde_json::from_value(asked.clone()).unwrap_or_default();
                    asked.into_iter().filter(|r| !r.met).map(|r| format!("it needs {}: {}", r.what, r.why)).collect()
                }
                None => continue,
            },
            Kind::AdmissionDenied => vec![describe(receipt).detail],
            _ => continue,
        };
        out.push((receipt.index, describe(receipt).headline, reasons));
        if out.len() == MAX_REFUSED {
            break;
        }
    }
    out
}
