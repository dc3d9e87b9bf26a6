//! `deliveryos token …`: on a running server over its local socket or its API, else straight in the data directory.

use std::{path::Path, process::ExitCode};

use access::Access;
use anyhow::Context as _;
use receipt_log::{Clock as _, SystemClock};
use store_sqlite::{DATABASE_FILE, OpenError, SqliteStore};

use super::{client::Client, data_dir, print};
use crate::{
    admin::{self, Made, Order},
    args::{DEFAULT_LISTEN, Global, TokenVerb},
    exit::WrongUse,
    router::{Created, TokenBody},
};

pub(super) async fn run(global: &Global, verb: TokenVerb) -> anyhow::Result<ExitCode> {
    let order = match verb {
        TokenVerb::Create { role, name, days } => Order::Token { role, name, days },
        TokenVerb::Link { role, name } => Order::Link { role, name },
    };
    // A server elsewhere, when a token for it is at hand; on this machine the data directory is authority enough.
    let made = match (&global.server, &global.token, &order) {
        (Some(_), Some(_), Order::Token { role, name, days }) => {
            let body = TokenBody { name: name.clone(), role: *role, days: *days };
            let Created { token, expires } = Client::new(global)?.post("/api/v1/tokens", &body).await?;
            Made::Token { token, expires }
        }
        (Some(_), Some(_), Order::Link { .. }) => {
            return Err(WrongUse("a login link is made on the server's machine, with its --data-dir".to_owned()).into());
        }
        _ => local(&data_dir(global, super::DATA_DIR)?, order).await?,
    };
    if global.json {
        print::json(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    match made {
        Made::Token { token, expires } => {
            print::line(&token)?;
            print::note(&format!("good until {expires}; it is shown this once"));
        }
        Made::Link { url } => {
            print::line(&url)?;
            print::note("good once, within 10 minutes");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn local(data_dir: &Path, order: Order) -> anyhow::Result<Made> {
    if let Some(made) = admin::ask(data_dir, &order).await? {
        return Ok(made);
    }
    if !data_dir.join(DATABASE_FILE).exists() {
        // A database made here would let nobody in anywhere: it is the wrong place.
        return Err(WrongUse(OpenError::Missing(data_dir.to_owned()).to_string()).into());
    }
    let store = match SqliteStore::open(data_dir).await {
        Err(error @ OpenError::InUse { .. }) => {
            return Err(error).context("the server of this data directory does not answer on its local socket");
        }
        opened => opened?,
    };
    let access = Access::new(std::sync::Arc::new(store.clone()));
    let made = admin::make(&access, order, &format!("http://{DEFAULT_LISTEN}"), SystemClock.now()).await;
    store.close().await.context("the data directory could not be closed")?;
    Ok(made?)
}
