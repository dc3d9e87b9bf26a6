//! Referrers: the API with its pages, and the tag that stands in for it where there is none (distribution specification, "Referrers tag
//! schema").

use std::sync::atomic::Ordering;

use model::Digest;
use reqwest::{StatusCode, header};
use serde::Serialize;

use super::{Registry, http::jitter};
use crate::{Contents, Descriptor, EMPTY_CONFIG, Error, Fetched, INDEX, Manifest, Place as _, Tag, digest_of, limits};

/// What a registry with the API may answer with its 404: it has no such repository, or nothing in it, yet.
const NOTHING_YET: [&str; 2] = ["NAME_UNKNOWN", "MANIFEST_UNKNOWN"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    schema_version: u64,
    media_type: &'a str,
    manifests: &'a [Descriptor],
}

impl Registry {
    pub(super) async fn list_referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let from_api = if self.api.load(Ordering::Relaxed) == 2 { None } else { self.api_referrers(subject).await? };
        let mut found = match from_api {
            Some(found) => found,
            None => self.tag_referrers(subject).await?.map(|(list, _)| list).unwrap_or_default(),
        };
        for entry in &mut found {
            // Some registries (go-containerregistry's) list the configuration's type. Of the empty one it says nothing.
            entry.artifact_type = entry.artifact_type.take().filter(|kind| kind != EMPTY_CONFIG);
        }
        let mut seen = std::collections::HashSet::new();
        // Never left to the registry: many ignore the filter that is asked for.
        found.retain(|d| {
            seen.insert(d.digest.clone())
                && d.digest != *subject
                && artifact_type.is_none_or(|wanted| d.artifact_type.as_deref().is_none_or(|there| there == wanted))
        });
        Ok(found)
    }

    /// Whether the API lists it, where a write did not say that there is one: some registries (go-containerregistry's) have it all the same,
    /// and the tag would stand beside it.
    pub(super) async fn api_lists(&self, subject: &Digest, referrer: &Digest) -> Result<bool, Error> {
        if self.api.load(Ordering::Relaxed) == 2 {
            return Ok(false);
        }
        let listed = self.api_referrers(subject).await?;
        Ok(listed.is_some_and(|listed| listed.iter().any(|entry| entry.digest == *referrer)))
    }

    /// `None` when the API is not there, which only a 404 says: 401, 403, 429 and 5xx say that it could not be found out.
    async fn api_referrers(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>, Error> {
        let what = format!("the referrers of {subject}");
        let mut pages = self.pages(self.path(&format!("referrers/{subject}"))?, &what, Some(INDEX));
        let mut found: Vec<Descriptor> = Vec::new();
        while let Some(page) = pages.next(self).await? {
            let Some(bytes) = page else {
                // A repository that will be there later may have the API then.
                if !pages.said.as_deref().is_some_and(|code| NOTHING_YET.contains(&code)) {
                    self.note_api(false);
                }
                return Ok(None);
            };
            let list =
                Manifest::parse(INDEX, &bytes, &digest_of(&bytes)).map_err(|e| self.answer(&what, e.to_string()))?;
            found.extend(list.children().to_vec());
            if found.len() > limits::REFERRERS {
                return Err(Error::limit(
                    format!("the number of referrers of {subject}"),
                    limits::REFERRERS.to_string(),
                ));
            }
        }
        self.note_api(true);
        Ok(Some(found))
    }

    /// What the tag lists, and the tag's state for a conditional write.
    async fn tag_referrers(&self, subject: &Digest) -> Result<Option<(Vec<Descriptor>, Fetched)>, Error> {
        let tag = Tag::of_referrers(subject);
        let fetched = match self.get_manifest(tag.as_str(), &format!("tag {tag}")).await {
            Err(error) if error.is_not_found() => return Ok(None),
            read => read?.0,
        };
        // Some registries answer this tag with the image itself: that is no list of evidence.
        if fetched.descriptor.digest == *subject {
            return Ok(None);
        }
        match fetched.parse()?.contents {
            Contents::Index(list) => Ok(Some((list, fetched))),
            Contents::Image { .. } => Err(self.answer(
                &format!("the tag {tag}"),
                "with an image, where the list of referrers belongs: somebody used the name for something else",
            )),
        }
    }

    /// Adds a referrer to the tag's list: read, merge, write on the condition that nobody else wrote, read again.
    ///
    /// Where the registry honours the condition no entry is lost. Where it does not (most do not), a writer that read before we wrote and
    /// writes after we looked again can still drop our entry: a promotion therefore looks a last time, for all entries, before it tags.
    pub(super) async fn list_under_tag(&self, subject: &Digest, entry: Descriptor) -> Result<(), Error> {
        let _one_at_a_time = self.merging.lock().await;
        let tag = Tag::of_referrers(subject);
        let what = format!("writing the tag {tag}");
        for attempt in 1..=limits::MERGE_ATTEMPTS {
            let there = self.tag_referrers(subject).await?;
            let (mut list, condition) = match there {
                Some((list, fetched)) => (list, (header::IF_MATCH, format!("\"{}\"", fetched.descriptor.digest))),
                None => (Vec::new(), (header::IF_NONE_MATCH, "*".to_owned())),
            };
            if list.iter().any(|d| d.digest == entry.digest) {
                return Ok(());
            }
            if list.len() >= limits::REFERRERS {
                return Err(Error::limit(
                    format!("the number of referrers of {subject}"),
                    limits::REFERRERS.to_string(),
                ));
            }
            list.push(entry.clone());
            let listed = Listed { schema_version: 2, media_type: INDEX, manifests: &list };
            let bytes = serde_json::to_vec(&listed).map_err(|e| Error::malformed(what.clone(), e.to_string()))?;
            let answer = self.put_manifest_at(tag.as_str(), &Fetched::new(INDEX, bytes), Some(condition)).await?;
            match answer.status() {
                StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {}
                status if status.is_success() => {
                    let now = self.tag_referrers(subject).await?;
                    if now.is_some_and(|(list, _)| list.iter().any(|d| d.digest == entry.digest)) {
                        return Ok(());
                    }
                }
                _ => return Err(self.refused(&what, answer).await),
            }
            tokio::time::sleep(jitter(limits::BACKOFF * attempt.min(5))).await;
        }
        Err(Error::Busy { place: self.name(), what, status: 412, attempts: limits::MERGE_ATTEMPTS })
    }
}
