//! `grpc.health.v1.Health`: the engine's readiness, and NOT_SERVING from the start of the drain.
//!
//! Written here rather than taken from `tonic-health` because its watch streams never end and so
//! would hold a drain.

use std::time::Duration;

use async_stream::stream;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::SERVICES;
use crate::engine::Engine;
use crate::types::Error;

/// How often a watch looks whether the readiness has changed.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The health service; the empty name stands for the whole server.
#[derive(Debug)]
pub(super) struct Health {
    engine: Engine,
}

impl Health {
    /// Over an engine.
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = status(&self.engine, &service);
        if status == ServingStatus::ServiceUnknown {
            return Err(Error::not_found(format!("there is no service {service:?}")).into());
        }
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (engine, service) = (self.engine.clone(), request.into_inner().service);
        Ok(Response::new(watch(engine, service).map(Ok).boxed()))
    }
}

/// The status now and whenever it changes; ends at shutdown.
fn watch(engine: Engine, service: String) -> impl Stream<Item = HealthCheckResponse> + Send {
    stream! {
        let mut shown = None;
        loop {
            let ending = engine.shutdown_token().is_cancelled();
            let now = status(&engine, &service);
            if shown != Some(now) {
                shown = Some(now);
                yield HealthCheckResponse { status: now.into() };
            }
            if ending {
                break;
            }
            let _ = tokio::time::timeout(WATCH_INTERVAL, engine.shutdown_token().cancelled()).await;
        }
    }
}

fn status(engine: &Engine, service: &str) -> ServingStatus {
    if !service.is_empty() && !SERVICES.contains(&service) {
        ServingStatus::ServiceUnknown
    } else if engine.shutdown_token().is_cancelled() || engine.readiness().is_err() {
        ServingStatus::NotServing
    } else {
        ServingStatus::Serving
    }
}
