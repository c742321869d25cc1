//! Chapters: the protocol, its limits, and what to build with it.
//!
//! | chapter | |
//! |---|---|
//! | [`protocol`] | the steps, and why they are right |
//! | [`limitations`] | what it cannot do |
//! | [`single_instance`] | one instance of a program, and messages to it |
//! | [`service_manager`] | started by systemd, or by hand |
//! | [`start_on_demand`] | a client that starts its server |
//! | [`hand_over`] | replaced by the next version, and no client notices |
//! | [`sandbox`] | containers, namespaces, file systems |
//! | [`multi_user`] | sockets that several users share |
//! | [`from_c`] | the C library |
#![cfg_attr(
    feature = "tokio1",
    doc = "| [`migration`] | from std, tokio, interprocess, git's C, systemd, s6, flock by hand |"
)]
//!
//! There is no code in here: the modules are empty, and are not there in a program that is built with this crate.

#[expect(unused_imports, reason = "for the links in the texts")]
use crate::*;

#[doc = include_str!("../docs/protocol_create.md")]
#[doc = ""]
#[doc = include_str!("../docs/create.svg")]
#[doc = ""]
#[doc = include_str!("../docs/protocol_close.md")]
#[doc = ""]
#[doc = include_str!("../docs/drain.svg")]
#[doc = ""]
#[doc = include_str!("../docs/protocol_take_over.md")]
#[doc = ""]
#[doc = include_str!("../docs/take-over.svg")]
#[doc = ""]
#[doc = include_str!("../docs/protocol_why.md")]
pub mod protocol {}

#[doc = include_str!("../docs/limitations.md")]
pub mod limitations {}

#[doc = include_str!("../docs/single_instance.md")]
pub mod single_instance {}

#[doc = include_str!("../docs/service_manager.md")]
pub mod service_manager {}

#[doc = include_str!("../docs/start_on_demand.md")]
pub mod start_on_demand {}

#[doc = include_str!("../docs/hand_over.md")]
pub mod hand_over {}

#[doc = include_str!("../docs/sandbox.md")]
pub mod sandbox {}

#[doc = include_str!("../docs/multi_user.md")]
pub mod multi_user {}

#[doc = include_str!("../docs/from_c.md")]
pub mod from_c {}

#[cfg(feature = "tokio1")] // one of its examples needs it
#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

/// The examples there compile, under all features; they listen at paths of the system or serve for ever, so they are not run.
#[cfg(all(doctest, feature = "axum0_8"))]
#[doc = include_str!("../docs/readme")]
mod readme {}
