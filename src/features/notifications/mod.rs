//! Notifications: kept for people until they have read them, told in real time to those who are there.
//!
//! A user's notifications, counts included, change together: an unread count is read, never made by counting, and is that of the
//! stored set after any crash. What the server itself tells is ordered in the batch of its cause ([`Notifications::order`]), so
//! it is as durable as the cause, and made by a worker afterwards.
//!
//! Spec: feature document, "Persistent Notifications System"; contract, sections 6 and 7.

mod about;
mod config;
mod draft;
pub mod events;
mod expiry;
mod groups;
mod hooks;
mod jobs;
mod kinds;
mod ledger;
mod news;
mod requests;
mod rest;
mod rules;
mod socket;
mod store;
mod subscriptions;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

pub use self::{
    about::message_key,
    config::Config,
    draft::Draft,
    events::SERVER_EVENTS,
    hooks::{Absences, Muting, Previews},
    jobs::{Job, Recipients},
    kinds::{Filter, Kind, Priority, Status},
    rest::routes as rest_routes,
    rules::{Notifications, Page, Start},
    socket::routes as socket_routes,
    view::NotificationView,
};
pub use crate::ids::NotificationId;

/// How long it is known that a notification was there: a deletion may be repeated, and a job may wait, for that long.
const REMEMBERED: Duration = Duration::from_hours(24);
