//! Where a release's image comes from and where it has been: source, build, image, environments, each opening its receipt and its
//! document. Made on the server and handed over as markup: the browser's code does not carry it.

mod gates;
mod nodes;

use leptos::prelude::*;
use model::{Environment, evidence::Requirement};
use projections::{Receipt, ReleaseView, say};

use self::nodes::{ATTESTED, Chain, Node};
use super::evidence::{Item, line};
use crate::{api::reads::ImageKnown, words::Tone};

/// What the log says of a release's image: a line under the headline, and the section.
pub(crate) fn known(view: &ReleaseView, about: &[Receipt], order: &[Environment]) -> ImageKnown {
    let chain = Chain::of(view, about, order);
    ImageKnown { line: line(items(&chain)).into_string(), section: section(&chain).to_html() }
}

/// Build, attestations and gates in a word each.
fn items(chain: &Chain) -> Vec<Item> {
    if chain.is_empty() {
        let detail = "nothing known before its release".to_owned();
        return vec![Item { tone: Tone::Unknown, name: "Image", detail, receipt: None }];
    }
    let named = |name: &str| chain.nodes.iter().chain(&chain.about).find(|node| node.name == name);
    let item = |name: &'static str| {
        let node = named(name)?;
        Some(Item { tone: node.tone, name, detail: node.word.to_owned(), receipt: node.receipt })
    };
    let stated: Vec<&Node> = ATTESTED.iter().filter_map(|(_, name)| named(name)).collect();
    let verified = || stated.iter().filter(|node| node.tone == Tone::Good);
    let names: Vec<String> = verified().map(|node| node.name.to_lowercase()).collect();
    let attested = Item {
        tone: if names.is_empty() { Tone::Unknown } else { Tone::Good },
        name: "Attested",
        detail: if names.is_empty() { "nothing was verified".to_owned() } else { names.join(", ") },
        receipt: verified().find_map(|node| node.receipt),
    };
    let gates = item("Gates").map(|gates| match named("Gates").and_then(|node| node.details.first()) {
        Some(more) if gates.receipt.is_some() => Item { detail: format!("{}, {more}", gates.detail), ..gates },
        _ => gates,
    });
    item("Build").into_iter().chain([attested]).chain(gates).collect()
}

fn section(chain: &Chain) -> AnyView {
    if chain.is_empty() {
        return view! {
            <section aria-labelledby="chain" class="chain">
                <h2 id="chain">"Where it comes from"</h2>
                <p class="none">"Nothing in the log is about this image before its release: no provenance, signature, gate or promotion. How they get there: docs/delivery.md."</p>
            </section>
        }
        .into_any();
    }
    let gates = chain.gates.clone().map(|(index, count, facts)| gates::decided(index, count, facts));
    view! {
        <section aria-labelledby="chain" class="chain">
            <h2 id="chain">"Where it comes from"</h2>
            <ol class="stations">{chain.nodes.iter().map(station).collect_view()}</ol>
            <ul class="about" aria-label="About the image">{chain.about.iter().map(station).collect_view()}</ul>
            {policy(&chain.policy)}
            {refused(&chain.refused)}
            <p class="mute where">"Signatures, reports and copies were checked by the server when it wrote these receipts. That a receipt stands unchanged in the log, your browser checks when you open it. Each document can be checked again without either: deliveryos verify-bundle."</p>
        </section>
        {gates}
    }
    .into_any()
}

fn station(node: &Node) -> AnyView {
    let class = format!("state {}", node.tone.class());
    let word = match node.receipt {
        Some(index) => {
            view! { <a class=format!("door {class}") href=format!("/receipts/{index}")>{node.word}</a> }.into_any()
        }
        None => view! { <span class=class>{node.word}</span> }.into_any(),
    };
    let document = node.document.as_ref().map(|digest| {
        view! { <a class="door doc" href=format!("/api/v1/segments/{digest}") rel="external">"document"</a> }
    });
    let known = if node.tone == Tone::Unknown && node.receipt.is_none() { "station off" } else { "station" };
    view! {
        <li class=known>
            <b>{node.name.clone()}</b>
            {word}
            {node.details.iter().map(|said| view! { <span class="said">{said.clone()}</span> }).collect_view()}
            {document}
        </li>
    }
    .into_any()
}

fn policy(asked: &[Requirement]) -> AnyView {
    if asked.is_empty() {
        return view! { <p class="mute">"This service has no policy: its releases start whatever is known of their images."</p> }.into_any();
    }
    let row = |r: &Requirement| {
        let (tone, word) = if r.met { (Tone::Good, "met") } else { (Tone::Bad, "not met") };
        let class = format!("state {}", tone.class());
        let word = match r.receipt {
            Some(index) => {
                view! { <a class=format!("door {class}") href=format!("/receipts/{index}")>{word}</a> }.into_any()
            }
            None => view! { <span class=class>{word}</span> }.into_any(),
        };
        view! { <tr><td class="w">{r.what.clone()}</td><td>{word}</td><td class="w">{r.why.clone()}</td></tr> }
    };
    view! {
        <h3>"Why it may run"</h3>
        <table class="policy">
            <thead><tr><th scope="col">"the policy asks for"</th><th scope="col">"state"</th><th scope="col">"because"</th></tr></thead>
            <tbody>{asked.iter().map(row).collect_view()}</tbody>
        </table>
    }
    .into_any()
}

fn refused(all: &[(u64, String, Vec<String>)]) -> AnyView {
    if all.is_empty() {
        return ().into_any();
    }
    let one = |(index, what, reasons): &(u64, String, Vec<String>)| {
        view! {
            <li>
                <a class="door state bad" href=format!("/receipts/{index}")>{what.clone()}</a>
                <span class="mute">" receipt "{say::count(*index)}</span>
                <ul>{reasons.iter().map(|reason| view! { <li>{reason.clone()}</li> }).collect_view()}</ul>
            </li>
        }
    };
    view! {
        <h3>"Why it was refused"</h3>
        <ul class="refused">{all.iter().map(one).collect_view()}</ul>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use model::{Digest, Kind, evidence::PromotionDecided, gate::GatesDecided};

    use super::*;

    fn decided(environment: &str, decision: &str) -> PromotionDecided {
        PromotionDecided {
            decision: decision.into(),
            service: "checkout".parse().unwrap(),
            environment: environment.parse().unwrap(),
            from: "oci:a".into(),
            to: "oci:b".into(),
            tag: "v8".into(),
            subject: Some(Digest::from_sha256(&[0x4f; 32])),
            reason: String::new(),
            refusals: if decision == "refused" { vec!["<b>frozen</b>".into()] } else { vec![] },
            request: None,
            asked_by: None,
            manifests: 3,
            evidence: 2,
            bytes: 0,
            copied: 0,
            verified: vec![],
        }
    }

    fn receipt(index: u64, kind: Kind, facts: &impl serde::Serialize) -> Receipt {
        let payload = receipts::Payload::new(kind, model::Timestamp::default(), "ci".parse().unwrap(), facts).unwrap();
        Receipt { index, payload }
    }

    #[test]
    fn stations_in_their_order_with_their_receipts() {
        let view = crate::gallery::sample_view();
        let markup = |view: &ReleaseView, about: &[Receipt], order: &[Environment]| known(view, about, order).section;
        let order: Vec<Environment> = ["dev", "staging", "prod"].map(|e| e.parse().unwrap()).to_vec();
        assert!(markup(&view, &[], &[]).contains("Nothing in the log is about this image"));
        let about = [
            receipt(3, Kind::PromotionCopied, &decided("dev", "copied")),
            receipt(4, Kind::PromotionRefused, &decided("staging", "refused")),
            receipt(5, Kind::PromotionRefused, &decided("dev", "refused")),
        ];
        let chain = Chain::of(&view, &about, &order);
        let stations: Vec<(&str, &str, Option<u64>)> =
            chain.nodes.iter().skip(3).map(|n| (n.name.as_str(), n.word, n.receipt)).collect();
        assert_eq!(
            stations,
            [("dev", "image copied", Some(3)), ("staging", "refused", Some(4)), ("prod", "not yet", None)]
        );
        assert_eq!(chain.refused.iter().map(|r| r.0).collect::<Vec<_>>(), [5, 4]);
        let said = markup(&view, &about, &order);
        assert!(said.contains("href=\"/receipts/3\"") && said.contains("&lt;b&gt;frozen"), "{said}");
        // A promotion that was made after all is what counts.
        let later = [about[1].clone(), receipt(9, Kind::PromotionCopied, &decided("staging", "copied"))];
        let chain = Chain::of(&view, &later, &order);
        assert_eq!(chain.nodes[4].receipt, Some(9));
    }

    #[test]
    fn gates_with_what_was_not_run() {
        let facts = GatesDecided {
            decision: "passed".into(),
            service: None,
            subject: None,
            policy: "demo".into(),
            policy_digest: Digest::from_sha256(&[1; 32]),
            reports: vec![],
            findings: 0,
            failing: 0,
            waived: 0,
            reasons: vec![],
            reasons_total: 0,
            top: vec![],
            new: None,
            fixed: None,
            not_run: vec![model::gate::NotRun { tool: "trivy".into(), why: "not installed".into() }],
            segment: Digest::from_sha256(&[2; 32]),
        };
        let image = known(&crate::gallery::sample_view(), &[receipt(1, Kind::GatesPassed, &facts)], &[]);
        let said = image.section;
        assert!(said.contains("trivy") && said.contains("not run") && said.contains("not installed"), "{said}");
        let line = image.line;
        let gates = "href=\"/receipts/1\"><b>Gates</b> <span>passed, 1 scanner not run</span></a>";
        assert!(line.contains(gates), "{line}");
        assert!(line.contains("<b>Build</b> <span>not known</span>"), "{line}");
        assert!(line.contains("<b>Attested</b> <span>nothing was verified</span>"), "{line}");
        let nothing = known(&crate::gallery::sample_view(), &[], &[]).line;
        assert!(nothing.contains("<b>Image</b> <span>nothing known before its release</span>"), "{nothing}");
    }
}
