//! From the configuration to how the spool is kept, for the running agent and for who works on its
//! spool while it does not run.

use crate::config::AgentConfig;
use crate::spool;

/// How the spool is kept.
pub(super) fn spool_options(agent: &AgentConfig) -> spool::Options {
    let machine_id = std::fs::read_to_string("/etc/machine-id").ok();
    spool::Options {
        quota: agent.spool.quota,
        min_free: agent.spool.min_free,
        max_age: agent.spool.max_age,
        commit_interval: agent.spool.commit_interval,
        quarantine_quota: agent.quarantine.quota,
        quarantine_age: agent.quarantine.max_age,
        machine_id: machine_id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
        ..spool::Options::new(&agent.data_dir)
    }
}
