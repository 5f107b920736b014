//! All REST routes, those of the reference included, which is printed from all of them.

use axum::Router;

use crate::{
    admin::{self, Admin},
    features::{Config, Features, auth::Keys, elsewhere::Neighbors, offline_queue::Background},
    http::{MetricsAccess, Origins},
    reference::Reference,
    server::Rest,
    storage::{StorageError, Store},
    telemetry::{Metrics, Obstacles},
};

/// The routes of the whole process.
pub(super) fn rest(features: &Features, admin: &Admin) -> Router {
    let admin = admin::routes(admin);
    let reference = describe(features, &admin);
    admin.into_router().merge(reference.routes().into_router()).merge(features.rest())
}

/// The reference of this version, without a server: `hobnob schema` and the tests print it.
///
/// # Errors
///
/// Those of [`Features::new`], which an empty store in memory gives no reason for.
pub fn reference() -> Result<Reference, StorageError> {
    // Nobody signs in here, and nothing is stored: only what is declared is read.
    let (keys, background) = (Keys::hs256(&[b""]), Background::default());
    let features =
        Features::new(Config::default(), &Store::memory(), keys, Origins::Any, Neighbors::none(), background)?;
    let (obstacles, metrics) = (Obstacles::default(), Metrics::default());
    Ok(describe(&features, &admin::routes(&Admin { obstacles, metrics, metrics_access: MetricsAccess::default() })))
}

fn describe(features: &Features, admin: &Rest) -> Reference {
    Reference::new(&features.documented(), &[features.documented_rest().endpoints(), admin.endpoints()])
}
