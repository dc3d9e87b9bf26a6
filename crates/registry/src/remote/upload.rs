//! Blobs into a registry: taken over within it where that is allowed, else sent as one stream.

use reqwest::{Method, StatusCode, header};
use url::Url;

use super::{
    Registry,
    http::{Ask, Payload},
};
use crate::{Descriptor, Error, Place as _, Source};

/// Sessions begun for one blob: the registry may have closed one between its two requests.
const SESSIONS: u32 = 3;

impl Registry {
    pub(super) async fn upload(&self, blob: &Descriptor, source: &dyn Source) -> Result<(), Error> {
        let what = format!("writing the blob {}", blob.digest);
        let mut session = 0;
        loop {
            session += 1;
            let Some(location) = self.begin(blob, source, &what).await? else { return Ok(()) };
            let mut ask = Ask::new(Method::PUT, location, self.push(), &what);
            ask.url.query_pairs_mut().append_pair("digest", blob.digest.as_str());
            ask.payload = Payload::Blob(source, blob);
            let answer = self.http.send(&self.name(), &ask).await?;
            match answer.status() {
                status if status.is_success() => return Ok(()),
                // The session is gone: another try needs another one.
                StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE if session < SESSIONS => {}
                _ => return Err(self.refused(&what, answer).await),
            }
        }
    }

    /// Begins an upload. `None`: the registry took the blob over from another repository of its own, nothing is left to do.
    async fn begin(&self, blob: &Descriptor, source: &dyn Source, what: &str) -> Result<Option<Url>, Error> {
        let mut url = self.path("blobs/uploads/")?;
        let mut scope = self.push();
        let from = source.origin().filter(|origin| origin.host == self.host && origin.repository != self.repository);
        if let Some(from) = &from {
            url.query_pairs_mut().append_pair("mount", blob.digest.as_str()).append_pair("from", &from.repository);
            scope = format!("{scope} repository:{}:pull", from.repository);
        }
        let ask = Ask::new(Method::POST, url.clone(), scope, what);
        let answer = self.http.send(&self.name(), &ask).await?;
        match answer.status() {
            StatusCode::CREATED if from.is_some() => return Ok(None),
            StatusCode::ACCEPTED => {}
            _ => return Err(self.refused(what, answer).await),
        }
        let location = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
        let location = location.ok_or_else(|| self.answer(what, "without the Location to send it to"))?;
        let location = url.join(location).map_err(|_| self.answer(what, "with a Location that is no address"))?;
        if url.scheme() == "https" && location.scheme() != "https" {
            return Err(self.answer(what, "with a Location that is not encrypted"));
        }
        Ok(Some(location))
    }
}
