//! `hobnob default-config`.

use super::output;
use crate::config;

pub(super) fn run() -> anyhow::Result<()> {
    output::print(&config::example())
}
