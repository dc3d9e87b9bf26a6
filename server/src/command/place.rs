//! Places that hold images, as the command line and the configuration name them.

use registry::{At, Credentials, Error, Layout, Place, Reference, Registry, RegistryOptions};

use crate::exit::{Refusal, WrongUse};

/// Opens the place of a reference; a layout that images go to is made when there is none.
pub(crate) async fn open(reference: &Reference, write: bool, plain_http: bool) -> anyhow::Result<Box<dyn Place>> {
    opened(reference, write, plain_http).await.map_err(refusal)
}

/// The same, with the registry's own error.
pub(crate) async fn opened(reference: &Reference, write: bool, plain_http: bool) -> Result<Box<dyn Place>, Error> {
    Ok(match reference {
        Reference::Layout { path, .. } => {
            let layout = if write { Layout::create(path).await } else { Layout::open(path).await };
            Box::new(layout?)
        }
        Reference::Registry { host, repository, .. } => {
            let options = RegistryOptions { plain_http, credentials: Credentials::from_environment() };
            Box::new(Registry::new(host, repository, options)?)
        }
    })
}

/// Which image is meant: the one that is named, else the only one of a layout.
pub(crate) async fn at(reference: &Reference) -> anyhow::Result<At> {
    match (reference.at(), reference) {
        (Some(at), _) => Ok(at.clone()),
        (None, Reference::Layout { path, .. }) => {
            let layout = Layout::open(path).await.map_err(refusal)?;
            layout.only().await.map_err(refusal)
        }
        (None, Reference::Registry { .. }) => {
            Err(WrongUse(format!("{reference} names no image: add :TAG or @sha256:DIGEST")).into())
        }
    }
}

/// A known no, wrong use, or something that could not be found out: three exit codes.
pub(crate) fn refusal(error: Error) -> anyhow::Error {
    match &error {
        Error::Reference { .. } => WrongUse(error.to_string()).into(),
        known if known.is_refusal() => Refusal(error.to_string()).into(),
        _ => error.into(),
    }
}
