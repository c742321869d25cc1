//! What the socket is to be like: options that several commands have.

use clap::Args;

use super::values::mode;

#[derive(Debug, Args)]
pub(crate) struct SocketOptions {
    /// Permission bits of the socket, octal; whoever may write may connect
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    pub(crate) mode: u32,

    /// Owner of the socket, by name or number
    #[arg(long, value_name = "USER")]
    pub(crate) owner: Option<String>,

    /// Group of the socket, by name or number
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// How many clients may wait to be accepted [default: the kernel's most]
    #[arg(long, value_name = "N")]
    pub(crate) backlog: Option<u32>,
}
