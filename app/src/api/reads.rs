//! Reads: each needs a viewer.

use leptos::{prelude::*, server_fn::codec::Post};
use model::{ReleaseId, Tick, Timestamp};
use projections::{Overview, Receipt, ReceiptProof};
#[cfg(feature = "ssr")]
use projections::{ReleaseRow, ReleaseView};
use serde::{Deserialize, Serialize};

#[cfg(feature = "ssr")]
use super::page::written;
use super::{
    ApiError,
    encoding::{TextJson, Written},
    metrics::Tiles,
    waiting::PromotionAsked,
};

/// Seconds of a release that come as they are, and points of a part of a longer one.
pub const MAX_POINTS: u32 = 720;
/// Points of a longer one as a whole: of those two hundred are drawn at most.
#[cfg(feature = "ssr")]
const WHOLE_POINTS: u32 = 300;

/// Who is logged in, and what their forms carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Their name.
    pub actor: String,
    /// Their role, as a word.
    pub role: String,
    /// True when they may give commands.
    pub commands: bool,
    /// What forms carry as `form_token`; empty when none is needed.
    pub form_token: String,
}

/// The session of who reads, as every page has it by context: none or a [`Session`], in JSON.
#[derive(Clone, Copy)]
pub struct SessionText(pub super::page::PageResource);

/// The overview with the last second of each release under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverviewPage {
    /// The overview.
    pub overview: Overview,
    /// The last tick of each release under way that has one.
    pub latest: Vec<(ReleaseId, Tick)>,
    /// Promotions that wait for a second person.
    pub asked: Vec<PromotionAsked>,
    /// Delivery metrics.
    pub metrics: Tiles,
}

/// A release with its ticks. The page folds its receipts, on the server and in the browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleasePage {
    /// What the log says, in its order.
    pub receipts: Vec<Receipt>,
    /// The last receipt of the log that was looked at.
    pub as_of: u64,
    /// What the data plane counted; see [`MAX_POINTS`].
    #[serde(with = "super::columns")]
    pub ticks: Vec<Tick>,
    /// The release of this service before it.
    pub previous: Option<Previous>,
    /// The newest release of this service, when it is another one.
    pub newest: Option<Newest>,
    /// What is known of its image.
    pub image: ImageKnown,
    /// Why the controller does not carry it on, if it does not.
    pub left_alone: Option<String>,
    /// What the keys of the reader's commands begin with; empty for who may give none.
    pub form_key: String,
}

/// What is known of a release's image, as markup that the server made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageKnown {
    /// In a line: build, attestations, gates.
    pub line: String,
    /// All of it, from the source to the environments.
    pub section: String,
}

/// The release that came last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Where it stands, in a word.
    pub state: String,
}

/// A release beside which another one is put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Previous {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its environment.
    pub environment: String,
    /// What is said of it, line by line.
    pub said: Vec<String>,
}

/// A receipt with what is needed to check it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptPage {
    /// As the server reads it; the browser checks it.
    pub receipt: Receipt,
    /// Entry, inclusion proof, checkpoint.
    pub proof: ReceiptProof,
    /// How the log of the size that the browser asked with and the proof's belong together, when they are not of one size.
    pub history: Option<Between>,
    /// The log's key as the server states it; the browser keeps the first one it saw.
    pub vkey: String,
}

/// The consistency proof between another size of the log and a proof's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Between {
    /// The other size.
    pub size: u64,
    /// Base64 hashes; `None` when a size is beyond the log.
    pub proof: Option<Vec<String>>,
}

/// Receipts with their proofs, to be checked in one go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProofsPage {
    /// In the order asked for; without the `.tlog-proof` text, which says the same again.
    pub proofs: Vec<ReceiptProof>,
    /// The log's key as the server states it; the browser keeps the first one it saw.
    pub vkey: String,
}

/// Proofs in one answer: an entry of the largest size is 88 kB in base64, the usual one 2 kB.
pub const MAX_PROOFS: usize = 64;

#[cfg(feature = "ssr")]
pub(super) fn could_not(e: projections::ReadError) -> ApiError {
    ApiError::Unavailable(e.to_string())
}

#[cfg(feature = "ssr")]
pub(super) fn parsed<T: std::str::FromStr<Err = model::ParseError>>(text: &str) -> Result<Option<T>, ApiError> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|e: model::ParseError| ApiError::Invalid(e.to_string()))
    }
}

/// Who is logged in: a [`Session`], or none when nobody is.
#[server(prefix = "/api", endpoint = "get_session", output = Post<Written>)]
pub async fn get_session() -> Result<String, ApiError> {
    use super::context::{form_token, identity};
    written(identity().map(|who| Session {
        form_token: form_token(&who),
        commands: who.role >= access::Role::Operator,
        role: format!("{:?}", who.role).to_lowercase(),
        actor: who.actor.to_string(),
    }))
}

/// The overview: an [`OverviewPage`].
#[server(prefix = "/api", endpoint = "get_overview", output = Post<Written>)]
pub async fn get_overview() -> Result<String, ApiError> {
    use super::context::{answered, now, reader};
    /// A second that is older says nothing about now.
    const FRESH_MS: i64 = 10_000;
    let read = answered(reader())?;
    let now = now();
    let overview = answered(read.overview().await.map_err(could_not))?;
    let mut latest = Vec::new();
    for row in &overview.in_flight {
        let ticks = answered(read.ticks(&row.id, now.plus_millis(-FRESH_MS), now, 20).await.map_err(could_not))?;
        latest.extend(ticks.into_iter().next_back().map(|t| (row.id.clone(), t)));
    }
    let metrics = answered(super::metrics::tiles(&*read).await)?;
    let asked = answered(super::waiting::open(&*read, now).await.map_err(could_not))?;
    written(OverviewPage { overview, latest, asked, metrics })
}

/// A tick as it is drawn: without what no page shows, and no finer than a drawing is; one that stands for many
/// seconds, to three digits. It is a good half of what a release weighs.
#[cfg(feature = "ssr")]
fn drawn(mut tick: Tick, of_many: bool) -> Tick {
    let fine = |value: &mut f64, parts: f64| *value = (*value * parts).round() / parts;
    for version in std::iter::once(&mut tick.stable).chain(tick.canary.as_mut()) {
        (version.p50_ms, version.mean_ms, version.sigma_ms) = (None, None, None);
        version.p99_ms.iter_mut().for_each(|ms| fine(ms, if of_many && *ms >= 10.0 { 1e1 } else { 1e3 }));
    }
    tick.canary_last_sent = None;
    tick.counted.clear();
    if let Some(judged) = &mut tick.judged {
        judged.certificate = None;
        for ln in [&mut judged.joint, &mut judged.abs, &mut judged.rel, &mut judged.p99] {
            fine(ln, 1e4);
        }
        judged.ratio.iter_mut().flatten().chain(&mut judged.difference).for_each(|end| fine(end, 1e6));
    }
    tick
}

/// One release with its ticks: a [`ReleasePage`].
#[server(prefix = "/api", endpoint = "get_release", output = Post<Written>)]
pub async fn get_release(release: String) -> Result<String, ApiError> {
    use super::context::{answered, now, reader};
    answered(
        async {
            let read = reader()?;
            let missing = || ApiError::NotFound(format!("release {release}"));
            let id: ReleaseId = release.parse().map_err(|_| missing())?;
            let mut view = read.release(&id).await.map_err(could_not)?.ok_or_else(missing)?;
            let until = view.row.ended.map_or_else(now, |end| end.plus_millis(5_000));
            let from = view.row.started.plus_millis(-5_000);
            let long = until.since(from) > i64::from(MAX_POINTS) * 1_000;
            let points = if long { WHOLE_POINTS } else { MAX_POINTS };
            let ticks = read.ticks(&id, from, until, points).await.map_err(could_not)?;
            let ticks = ticks.into_iter().map(|tick| drawn(tick, long)).collect();
            let before = projections::ReleaseFilter {
                service: Some(view.row.service.clone()),
                before: Some(view.row.started),
                limit: 1,
                ..projections::ReleaseFilter::default()
            };
            let previous = read.releases(before).await.map_err(could_not)?.pop().map(|row| Previous {
                said: crate::pages::release_column(&row, row.exposed, now()),
                id: row.id.to_string(),
                version: row.version.to_string(),
                environment: row.environment.to_string(),
            });
            let newest = newest(&*read, &view.row).await?;
            let image = image(&*read, &view).await?;
            let left_alone = left_alone(&view.row);
            let key = |who| crate::words::form_key(super::context::form_secret(&who), who.actor.as_str(), id.as_str());
            let operator = super::context::identity().filter(|who| who.role >= access::Role::Operator);
            let form_key = operator.map(key).unwrap_or_default();
            // Whole, also what is not shown: the browser holds each against what was signed.
            let (as_of, receipts) = (view.as_of, std::mem::take(&mut view.receipts));
            super::page::keep(view);
            written(ReleasePage { receipts, as_of, ticks, previous, newest, image, left_alone, form_key })
        }
        .await,
    )
}

/// The newest release of a release's service, when it is another one: while one is under way no other begins.
#[cfg(feature = "ssr")]
async fn newest(read: &dyn projections::ReadModel, row: &ReleaseRow) -> Result<Option<Newest>, ApiError> {
    use projections::ReleaseFilter;
    if row.in_flight() {
        return Ok(None);
    }
    let last = ReleaseFilter { service: Some(row.service.clone()), limit: 1, ..ReleaseFilter::default() };
    let last = read.releases(last).await.map_err(could_not)?.pop().filter(|last| last.id != row.id);
    Ok(last.map(|last| Newest {
        id: last.id.to_string(),
        version: last.version.to_string(),
        state: crate::words::state(&last).1,
    }))
}

/// Why the controller does not carry a release on, if it does not.
#[cfg(feature = "ssr")]
fn left_alone(row: &ReleaseRow) -> Option<String> {
    use controller::Delivery;
    let delivery: std::sync::Arc<dyn Delivery> = super::context::service("controller").ok()?;
    if !row.in_flight() {
        return None;
    }
    let left = delivery.left_alone().into_iter().find(|left| left.service == row.service);
    match left {
        Some(left) => Some(left.to_string()),
        None if delivery.traffic(&row.service).is_none() => {
            Some(controller::CommandError::NotConfigured(row.service.clone()).to_string())
        }
        None => None,
    }
}

/// What is known of a release's image by now: an [`ImageKnown`].
#[server(prefix = "/api", endpoint = "get_image", output = Post<Written>)]
pub async fn get_image(release: String) -> Result<String, ApiError> {
    use super::context::{answered, reader};
    answered(
        async {
            let read = reader()?;
            let missing = || ApiError::NotFound(format!("release {release}"));
            let id: ReleaseId = release.parse().map_err(|_| missing())?;
            let view = read.release(&id).await.map_err(could_not)?.ok_or_else(missing)?;
            written(image(&*read, &view).await?)
        }
        .await,
    )
}

/// Receipts of one kind about one image that are looked at, newest first: what is older has been overtaken.
#[cfg(feature = "ssr")]
const ABOUT_IMAGE: u32 = 20;

#[cfg(feature = "ssr")]
async fn image(read: &dyn projections::ReadModel, view: &ReleaseView) -> Result<ImageKnown, ApiError> {
    use model::Kind;
    use projections::{MAX_PAGE, ReceiptFilter};
    let about =
        |kind, limit| ReceiptFilter { subject: Some(view.row.digest.clone()), kind, limit, ..ReceiptFilter::default() };
    let mut found = read.receipts(about(None, MAX_PAGE)).await.map_err(could_not)?;
    if found.len() as u32 == MAX_PAGE {
        // One kind must not hide the others.
        found.clear();
        for kind in [
            Kind::BuildCompleted,
            Kind::AttestationSlsa,
            Kind::AttestationSignature,
            Kind::AttestationSbom,
            Kind::AttestationVuln,
            Kind::GatesPassed,
            Kind::GatesFailed,
            Kind::PromotionCopied,
            Kind::PromotionRefused,
            Kind::AdmissionAllowed,
            Kind::AdmissionDenied,
            Kind::CommandAccepted,
            Kind::CommandRefused,
        ] {
            found.extend(read.receipts(about(Some(kind), ABOUT_IMAGE)).await.map_err(could_not)?);
        }
    }
    let order = use_context::<super::context::Environments>().unwrap_or_default();
    Ok(crate::pages::release_chain::known(view, &found, &order.0))
}

/// Ticks of a release between two times, thinned to [`MAX_POINTS`].
#[server(prefix = "/api", endpoint = "get_ticks", output = Post<TextJson>)]
pub async fn get_ticks(release: ReleaseId, from: Timestamp, to: Timestamp) -> Result<Vec<Tick>, ApiError> {
    use super::context::{answered, reader};
    let ticks = async { reader()?.ticks(&release, from, to, MAX_POINTS).await.map_err(could_not) }.await;
    answered(ticks.map(|ticks| ticks.into_iter().map(|tick| drawn(tick, false)).collect()))
}

/// One receipt with its proof: a [`ReceiptPage`]. `seen` is the size of the log that the browser saw last, 0 for none.
#[server(prefix = "/api", endpoint = "get_receipt", output = Post<Written>)]
pub async fn get_receipt(index: String, #[server(default)] seen: u64) -> Result<String, ApiError> {
    use super::context::{LogKey, answered, reader, service};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    answered(
        async {
            let read = reader()?;
            let missing = || ApiError::NotFound(format!("receipt {index}"));
            let at: u64 = index.parse().map_err(|_| missing())?;
            let proof = read.receipt(at).await.map_err(could_not)?.ok_or_else(missing)?;
            let unreadable = |why: String| ApiError::Unavailable(format!("receipt {at} cannot be read: {why}"));
            let entry = STANDARD.decode(&proof.entry).map_err(|e| unreadable(e.to_string()))?;
            let payload = receipts::read_unverified(&entry).map_err(|e| unreadable(e.to_string()))?;
            let vkey = service::<LogKey>("log key")?.0;
            let head = tlog::SignedNote::parse(proof.checkpoint.as_bytes()).ok();
            let head = head.and_then(|note| note.text().parse::<tlog::Checkpoint>().ok());
            let history = match head {
                Some(head) if seen > 0 && head.size > 0 && seen != head.size => {
                    let proof = read.consistency(seen.min(head.size), seen.max(head.size)).await.map_err(could_not)?;
                    Some(Between { size: seen, proof })
                }
                _ => None,
            };
            written(ReceiptPage { receipt: Receipt { index: at, payload }, proof, history, vkey })
        }
        .await,
    )
}

/// Receipts with their proofs, by their indices, with commas between them; at most [`MAX_PROOFS`].
#[server(prefix = "/api", endpoint = "get_proofs", output = Post<TextJson>)]
pub async fn get_proofs(indices: String) -> Result<ProofsPage, ApiError> {
    use super::context::{LogKey, answered, reader, service};
    answered(
        async {
            let read = reader()?;
            let asked: Result<Vec<u64>, _> = indices.split(',').take(MAX_PROOFS + 1).map(str::parse).collect();
            let asked = asked.map_err(|_| ApiError::Invalid("the indices are not numbers".to_owned()))?;
            if asked.len() > MAX_PROOFS {
                return Err(ApiError::Invalid(format!("ask for at most {MAX_PROOFS} receipts at once")));
            }
            let mut proofs = Vec::with_capacity(asked.len());
            for index in asked {
                let proof = read.receipt(index).await.map_err(could_not)?;
                let proof = proof.ok_or_else(|| ApiError::NotFound(format!("receipt {index}")))?;
                proofs.push(ReceiptProof { tlog_proof: String::new(), ..proof });
            }
            Ok(ProofsPage { proofs, vkey: service::<LogKey>("log key")?.0 })
        }
        .await,
    )
}

/// The consistency proof between two sizes of the log, base64 hashes; `None` when a size is beyond the log.
#[server(prefix = "/api", endpoint = "get_consistency", output = Post<TextJson>)]
pub async fn get_consistency(old: u64, new: u64) -> Result<Option<Vec<String>>, ApiError> {
    use super::context::{answered, reader};
    answered(async { reader()?.consistency(old, new).await.map_err(could_not) }.await)
}

/// The server's time: what both sides start their clock from.
#[cfg(feature = "ssr")]
pub(crate) fn server_now() -> Timestamp {
    super::context::now()
}
#[cfg(not(feature = "ssr"))]
pub(crate) fn server_now() -> Timestamp {
    Timestamp::default()
}
