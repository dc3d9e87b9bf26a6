//! `deliveryos demo-service`: the small HTTP service that the demo delivers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use demo::service::{Behaviour, ServiceError, serve};

use crate::{args::DemoService, compose::terminated, exit::WrongUse};

/// How it is to behave.
pub(crate) fn behaviour(options: &DemoService) -> Behaviour {
    Behaviour {
        version: options.version.to_string(),
        median_ms: options.latency_ms,
        sigma: options.sigma,
        error_rate: options.error_rate,
        // Each process its own latencies; which ones matters to nobody.
        seed: u64::from(std::process::id()),
    }
}

pub(super) async fn run(options: DemoService) -> anyhow::Result<ExitCode> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    match serve(address, behaviour(&options), terminated()).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ServiceError::Listen(address, error)) => {
            Err(crate::http_server::cannot_listen(address, "the service", "--port", &error).into())
        }
        Err(error @ ServiceError::Behaviour(_)) => Err(WrongUse(error.to_string()).into()),
    }
}
