//! The HTTP kit: the listener with its time-outs and limits, cross-origin rules, the error body of REST answers.

mod config;
mod cors;
mod forwarded;
mod listener;
mod stream;

pub use self::{
    config::{Config, MetricsAccess},
    cors::{Origins, cookie_counts, cors, page_may_connect},
    forwarded::{ClientAddress, Proxies},
    listener::{Body, Stopper, serve, serve_connection},
    stream::Stream,
};
