//! The metrics whose values others keep: where they are found when somebody asks.

use std::{collections::HashSet, fs, sync::Arc};

use super::resources;
use crate::{
    features::Features,
    server::Server,
    storage::{self, Store},
    telemetry::{Logging, Metrics, Sample},
    transport::Transport,
};

/// Connects `metrics` with what it measures.
pub(super) fn connect(
    metrics: &Metrics,
    features: &Arc<Features>,
    transport: &Transport<Server>,
    store: (&Store, &storage::Config),
    logging: &Logging,
) {
    let sessions = transport.clone();
    metrics.read("sessions", move || {
        let counted = sessions.sessions_by_transport();
        counted.map(|(transport, count)| Sample::labelled(transport.as_str(), number(count))).to_vec()
    });
    let dropped = transport.clone();
    metrics.read("volatile_dropped", move || vec![Sample::plain(dropped.volatile_dropped())]);
    let sockets = Arc::clone(features);
    metrics.read("sockets", move || {
        let namespaces = sockets.namespaces().iter();
        namespaces.map(|namespace| Sample::labelled(Arc::clone(namespace.name()), number(namespace.len()))).collect()
    });
    let users = Arc::clone(features);
    metrics.read("users_online", move || vec![Sample::plain(number(users_online(&users)))]);
    let locks = Arc::clone(features);
    metrics.read("locks_held", move || vec![Sample::plain(number(locks.locks.held()))]);
    let (store, config) = store;
    let (panics, server) = (store.clone(), transport.clone());
    metrics.read("panics", move || vec![Sample::plain(server.application().panics().saturating_add(panics.panics()))]);
    let database = config.database();
    metrics.read("store_bytes", move || {
        fs::metadata(&database).map(|file| vec![Sample::plain(file.len())]).unwrap_or_default()
    });
    let dir = config.dir.clone();
    metrics.read("disk_free_bytes", move || {
        resources::disk(&dir).map(|disk| Sample::plain(disk.free)).into_iter().collect()
    });
    metrics.read("memory_bytes", || resources::memory_in_use().map(Sample::plain).into_iter().collect());
    let lost = logging.clone();
    metrics.read("log_lines_lost", move || lost.lost().map(|(reason, lines)| Sample::labelled(reason, lines)).to_vec());
    let commits = metrics.clone();
    store.observe_commits(move |duration| commits.committed(duration));
}

fn users_online(features: &Features) -> usize {
    let sockets: Vec<_> = features.namespaces().iter().flat_map(|namespace| namespace.sockets()).collect();
    sockets.iter().filter_map(|socket| socket.user()).collect::<HashSet<_>>().len()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
