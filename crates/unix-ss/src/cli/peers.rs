//! Who may be at the other end: options that several commands have.

use clap::Args;
use unix_stream_server::{ConnectOptions, PeerRules};

use crate::users;

// Of a server that accepts its clients itself. No doc comment: clap would take it for the command's description.
#[derive(Debug, Args)]
pub(crate) struct AllowPeers {
    /// Serve only clients of this user, by name or number; may be given again, and together with --allow-gid. Others
    /// are hung up on. Root is no exception
    #[arg(long, value_name = "USER", conflicts_with = "activate")]
    pub(crate) allow_uid: Vec<String>,

    /// Serve only clients who are in this group, by name or number; may be given again
    #[arg(long, value_name = "GROUP", conflicts_with = "activate")]
    pub(crate) allow_gid: Vec<String>,
}

impl AllowPeers {
    /// `None`: everybody who may connect. An error says which option has no meaning.
    pub(crate) fn rules(&self) -> Result<Option<PeerRules>, String> {
        if self.allow_uid.is_empty() && self.allow_gid.is_empty() {
            return Ok(None);
        }
        let mut rules = PeerRules::new();
        for user in &self.allow_uid {
            rules = rules.uid(users::uid(user).map_err(|why| format!("cannot use --allow-uid: {why}"))?);
        }
        for group in &self.allow_gid {
            rules = rules.gid(users::gid(group).map_err(|why| format!("cannot use --allow-gid: {why}"))?);
        }
        Ok(Some(rules))
    }
}

// Of a client. No doc comment either.
#[derive(Debug, Args)]
pub(crate) struct ExpectPeer {
    /// Send nothing unless the server is of this user, by name or number (status 4); may be given again
    #[arg(long, value_name = "USER")]
    pub(crate) expect_uid: Vec<String>,
}

impl ExpectPeer {
    /// How to connect. An error says which option has no meaning.
    pub(crate) fn options(&self) -> Result<ConnectOptions, String> {
        let mut options = ConnectOptions::new();
        for user in &self.expect_uid {
            options = options.expect_uid(users::uid(user).map_err(|why| format!("cannot use --expect-uid: {why}"))?);
        }
        Ok(options)
    }
}
